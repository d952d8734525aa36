"""`inner doctor`: looks at everything that is needed, and says of each ok or what to do.

Owns the checks. Changes nothing: no directory is made, no store created, no lock taken. Must not know the command
line.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import platform
import shutil
import sqlite3
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import zmq
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from orchestrator.ensemble import ask_engine, free_port, voice_names
from orchestrator.errors import InnerError, PortTaken, PromptFileError
from orchestrator.process import read_holder
from orchestrator.settings import PREFIX, Settings
from orchestrator.store import Store
from orchestrator.store.engine import journal_for
from orchestrator.supervise import STATE_FILE
from voices.engine.prepare import PREPARED, PrepareError, check_gguf, embedded_source
from voices.role import load_modes

PACKAGES = ("inner-dialogue", "llama-cpp-python", "pyzmq", "streamlit", "sqlmodel", "pydantic", "typer")
GIGA = 1024**3
DISK_NEEDED = 200 * 1024**2
"""The requantised model is 145 MB."""
MEMORY_NEEDED = int(1.2 * GIGA)
"""All processes together, with the embedded model."""
INTERNAL = frozenset({"HOME", "HUB", "ENGINE", "PARENT", "CHROMIUM", "TEST_MODELS"})


@dataclass(frozen=True)
class Check:
    """One line. `ok` None: nothing to judge, only to know."""

    name: str
    ok: bool | None
    text: str
    hint: str = ""


def examine(settings: Settings) -> list[Check]:
    """Every check, in the order of the list; one that fails in a way of its own is a failed check."""
    looks: tuple[Callable[[Settings], Iterator[Check]], ...] = (
        versions,
        settings_file,
        directories,
        sqlite_and_store,
        model,
        running,
        port,
        prompts,
        room,
    )
    return [check for look in looks for check in look(settings)]


def versions(_: Settings) -> Iterator[Check]:
    good = sys.version_info >= (3, 11)
    hint = "" if good else "Python 3.11 or newer is needed: make setup PYTHON=python3.12"
    yield Check("python", good, f"{platform.python_version()} on {platform.system()}", hint)
    for name in PACKAGES:
        try:
            extra = f" (libzmq {zmq.zmq_version()})" if name == "pyzmq" else ""
            yield Check(name, True, importlib.metadata.version(name) + extra)
        except importlib.metadata.PackageNotFoundError:
            yield Check(name, False, "not installed", "make setup")


def settings_file(settings: Settings) -> Iterator[Check]:
    there = settings.config_path.exists()
    yield Check("settings", True, f"{settings.config_path}{'' if there else ' (not there; that is fine)'}")
    known = {name.upper() for name in Settings.model_fields} | INTERNAL
    for name in sorted(os.environ):
        if name.startswith(PREFIX) and name.removeprefix(PREFIX) not in known:
            yield Check("environment", None, f"{name} means nothing here", "A slip of the pen?")


def directories(settings: Settings) -> Iterator[Check]:
    home = settings.home
    nearest = next(path for path in (home, *home.absolute().parents) if path.exists())
    if not os.access(nearest, os.W_OK | os.X_OK) or not nearest.is_dir():
        yield Check("data directory", False, f"{home} cannot be written", "Set INNER_HOME to another one.")
    else:
        yield Check("data directory", True, f"{home}{'' if home.exists() else ' (made at the first start)'}")
    run = settings.run_dir
    private = not run.exists() or (run.stat().st_mode & 0o077 == 0 and run.stat().st_uid == os.getuid())
    yield Check("run directory", private, str(run), "" if private else f"Others can get in: chmod 700 {run}")


def sqlite_and_store(settings: Settings) -> Iterator[Check]:
    mode, why = journal_for(sqlite3.sqlite_version_info)
    if not settings.store_path.exists():
        yield Check("sqlite", True, f"journal mode {mode.upper()}: {why}")
        yield Check("store", True, f"{settings.store_path} (made at the first start)")
        return
    try:
        with Store.open(settings.store_path, create=False) as store:
            mode, why = store.journal()
            problems, n_threads = store.integrity(), len(store.threads())
    except InnerError as error:
        yield Check("store", False, error.message, error.hint)
        return
    yield Check("sqlite", True, f"journal mode {mode.upper()}: {why}")
    size = settings.store_path.stat().st_size / 1e6
    yield Check("store", not problems, f"{settings.store_path} ({size:.1f} MB, {n_threads} threads)")
    for problem in problems:
        yield Check("store", False, problem, f"Keep a copy of {settings.store_path} before anything else.")


def model(settings: Settings) -> Iterator[Check]:
    try:
        if settings.model_path is not None:
            check_gguf(settings.model_path)
            yield Check("model", True, described(settings.model_path))
            return
        source = embedded_source()
    except PrepareError as error:
        yield Check("model", False, str(error))
        return
    prepared = settings.models_dir / PREPARED
    if prepared.exists():
        yield Check("model", True, f"{described(prepared)}, prepared")
    else:
        yield Check("model", True, f"{source.name}, to be prepared at the first start (once, a few seconds)")


def described(path: Path) -> str:
    """A model file's name, size and digest (the first 16 hex digits of its SHA-256, as in the store)."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()[:16]
    return f"{path} ({path.stat().st_size / 1e6:.0f} MB, {digest})"


def running(settings: Settings) -> Iterator[Check]:
    """What runs now, the engine's measured threads among it."""
    holder = read_holder(settings.lock_path)
    if holder is None:
        yield Check("running", None, "nothing in this data directory")
        yield Check("threads", None, "measured by the engine when it starts")
        return
    yield Check("running", None, f"process {holder.pid}: {holder.command}, since {holder.since}")
    for name, child in children(settings).items():
        state, detail = child["state"], child["detail"]
        fine = state in ("ready", "starting")
        yield Check(f"  {name}", fine, f"{state}: {detail}", "" if fine else f"Its log: {child['log']}")
    info = ask_engine(settings.engine, patience=3.0)
    if info is None:
        yield Check(
            "threads", False, "the engine does not answer", f"Its log: {settings.logs_dir / 'engine.log'}"
        )
        return
    times = ", ".join(f"{threads}: {ms:.0f} ms" for threads, ms in info.thread_timings.items())
    yield Check("threads", True, f"{info.threads} ({times or 'as asked for'})")


def children(settings: Settings) -> dict[str, dict[str, Any]]:
    """What the supervisor says of its processes; empty where it says nothing."""
    try:
        state = json.loads((settings.run_dir / STATE_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return dict(state["children"])


def port(settings: Settings) -> Iterator[Check]:
    try:
        free = free_port(settings)
    except PortTaken as error:
        yield Check("port", None, error.message, error.hint)
        return
    taken = "" if free == settings.port else f" ({settings.port} is taken)"
    yield Check("port", True, f"{free} is free{taken}")


def prompts(settings: Settings) -> Iterator[Check]:
    try:
        modes = load_modes([settings.prompts_dir])
    except PromptFileError as error:
        yield Check("prompts", False, f"{error.file}:{error.line}: {error.message}", error.hint)
        return
    yield Check("modes", True, ", ".join(modes))
    own = "yours in " if settings.prompts_dir.exists() else "your own would be in "
    yield Check("voices", True, f"{', '.join(voice_names(modes))} ({own}{settings.prompts_dir})")


def room(settings: Settings) -> Iterator[Check]:
    place = next(path for path in (settings.home, *settings.home.absolute().parents) if path.exists())
    free = shutil.disk_usage(place).free
    hint = "" if free >= DISK_NEEDED else f"{DISK_NEEDED / 1e6:.0f} MB are needed: make room."
    yield Check("disk", not hint, f"{free / GIGA:.1f} GB free", hint)
    memory = psutil.virtual_memory().available
    little = "" if memory >= MEMORY_NEEDED else "1.2 GB are needed with the embedded model."
    yield Check("memory", None if little else True, f"{memory / GIGA:.1f} GB available", little)


# ---- the answer -----------------------------------------------------------------------------------------------


def healthy(checks: list[Check]) -> bool:
    """Nothing is broken."""
    return all(check.ok is not False for check in checks)


def as_json(checks: list[Check]) -> dict[str, Any]:
    """{ok, checks: [{name, ok (null: only to know), text, hint}]}"""
    return {"ok": healthy(checks), "checks": [vars(check) for check in checks]}


def as_text(checks: list[Check]) -> RenderableType:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    signs = {True: ("ok", "green"), False: ("!!", "bold red"), None: ("–", "dim")}
    for check in checks:
        word, style = signs[check.ok]
        text = Text(check.text)
        if check.hint:
            text.append(f"\n→ {check.hint}", "bold" if check.ok is False else "dim")
        grid.add_row(Text(word, style=style), Text(check.name), text)
    return grid
