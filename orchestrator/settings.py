"""What a person can set, and where everything lies: file HOME/config.toml < environment INNER_* < flags.

Owns the names, limits and defaults of all settings, the paths derived from HOME, and the run directory with
its sockets. Must not know what is done with any of them: no process, no socket, no store is opened here.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import tempfile
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from platformdirs import user_data_dir
from pydantic import BeforeValidator, Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from orchestrator.errors import BadSetting, NotWritable, UnsafeDirectory

EMBEDDED = "embedded"
PREFIX = "INNER_"
IPC_LIMIT = 100
"""Bytes of an ipc path: the kernel's sun_path ends at 108 (104 on macOS), libzmq fails there."""


def default_home() -> Path:
    """INNER_HOME, else the platform's directory for user data."""
    return Path(os.environ.get(PREFIX + "HOME") or user_data_dir("inner-dialogue")).expanduser()


def _expanded(value: object) -> object:
    return Path(value).expanduser() if isinstance(value, str | Path) else value


Expanded = Annotated[Path, BeforeValidator(_expanded)]
LogLevel = Literal["debug", "info", "warning", "error"]


class Settings(BaseSettings):
    """Every setting, with its limits. Build it with `load_settings`, which explains what is wrong."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_ignore_empty=True, frozen=True, extra="forbid", validate_default=True
    )

    home: Expanded = Field(default_factory=default_home)
    """Where the store, logs, models, own prompts and config.toml lie."""
    model: str = EMBEDDED
    """"embedded" (SmolLM2-135M-Instruct) or the path of any GGUF file."""
    threads: int | None = Field(None, ge=1, le=256)
    """Threads of the engine; None: measured at start."""
    cells: int = Field(8192, ge=512, le=1_048_576)
    """KV cells shared by all sequences of the engine."""
    port: int = Field(8501, ge=1024, le=65535)
    host: str = "127.0.0.1"
    """Address the page listens on."""
    budget: float | None = Field(None, ge=0.0, le=1.0)
    """Questions a decision, at most, over the long run; None: the mode's own. 0: never ask."""
    browser: bool = True
    """Open the page where there is a display."""
    log_level: LogLevel = "info"
    budget_ms: int = Field(30_000, ge=100, le=600_000)
    """Time a voice has for one proposal, milliseconds."""
    seed: int | None = Field(None, ge=0, lt=2**31)
    """Makes every draw repeatable, where the engine's batches fall the same; None: another one each time."""
    debug: bool = False
    """Show tracebacks, keep the logs of every level."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags, then environment, then HOME/config.toml; the file of the home the first two name."""
        home = init_settings().get("home") or default_home()
        return init_settings, env_settings, InitSettingsSource(settings_cls, read_config(Path(home)))

    @property
    def embedded(self) -> bool:
        return self.model == EMBEDDED

    @property
    def model_path(self) -> Path | None:
        """The GGUF file asked for; None for the embedded model."""
        return None if self.embedded else Path(self.model).expanduser()

    @property
    def port_asked(self) -> bool:
        """True where a person named the port: then another one will not do."""
        return "port" in self.model_fields_set

    @property
    def config_path(self) -> Path:
        return self.home / "config.toml"

    @property
    def store_path(self) -> Path:
        return self.home / "inner.db"

    @property
    def lock_path(self) -> Path:
        return self.home / "inner.lock"

    @property
    def logs_dir(self) -> Path:
        return self.home / "logs"

    @property
    def prompts_dir(self) -> Path:
        """A person's own prompts, MODE/NAME.md: they win over the ones shipped."""
        return self.home / "prompts"

    @property
    def models_dir(self) -> Path:
        return self.home / "models"

    @property
    def run_dir(self) -> Path:
        """HOME/run; where its socket paths would be too long for the kernel, a directory of ours in the
        system's temporary one."""
        home = self.home.absolute()
        inside = home / "run"
        if len(os.fsencode(inside / "engine.sock")) <= IPC_LIMIT:
            return inside
        return Path(tempfile.gettempdir()) / f"inner-{hashlib.sha1(os.fsencode(home)).hexdigest()[:12]}"

    @property
    def hub(self) -> str:
        """Endpoint of the bus (ROUTER), bound by the orchestrator."""
        return f"ipc://{self.run_dir / 'hub.sock'}"

    @property
    def engine(self) -> str:
        """Endpoint of the engine, bound by its process."""
        return f"ipc://{self.run_dir / 'engine.sock'}"

    @property
    def feed(self) -> str:
        """Endpoint of the live feed (PUB), bound by the orchestrator."""
        return f"ipc://{self.run_dir / 'feed.sock'}"

    def make_dirs(self) -> None:
        """Create HOME and what lies in it; RUN is ours alone (0700), since a socket file itself is 0755.

        Raises UnsafeDirectory where a directory cannot be made or RUN belongs to somebody else.
        """
        for directory in (self.home, self.logs_dir, self.models_dir):
            _make(directory)
        _make(self.run_dir)
        _check_private(self.run_dir)

    def environment(self) -> dict[str, str]:
        """The INNER_* variables that give a child process these very settings."""
        values = {name: getattr(self, name) for name in sorted(self.model_fields_set)}
        values["home"] = self.home.absolute()
        if self.model_path is not None:
            values["model"] = self.model_path.absolute()
        return {
            PREFIX + name.upper(): str(value).lower() if isinstance(value, bool) else str(value)
            for name, value in values.items()
            if value is not None
        }


def _make(directory: Path) -> None:
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        writable = os.access(directory, os.W_OK | os.X_OK)
    except OSError as error:
        raise NotWritable(f"Cannot make the directory {directory}: {error.strerror}.") from error
    if not writable:
        raise NotWritable(f"The directory {directory} is not writable.")


def _check_private(run: Path) -> None:
    state = run.lstat()
    if stat.S_ISLNK(state.st_mode) or not stat.S_ISDIR(state.st_mode):
        raise UnsafeDirectory(f"{run} is not a directory of its own.", f"Remove it: rm {run}")
    if hasattr(os, "getuid") and state.st_uid != os.getuid():
        raise UnsafeDirectory(f"{run} belongs to user {state.st_uid}, not to you.")
    mode = stat.S_IMODE(state.st_mode)
    if mode & 0o077:
        raise UnsafeDirectory(f"{run} is open to others (mode {mode:04o}).", f"Close it: chmod 700 {run}")


def read_config(home: Path) -> dict[str, Any]:
    """HOME/config.toml as a dictionary; empty where there is none. Raises BadSetting."""
    path = home.expanduser() / "config.toml"
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadSetting(
            f"{path} is not valid TOML: {error}.", 'A line looks like: model = "embedded"'
        ) from error
    except OSError as error:
        raise BadSetting(f"Cannot read {path}: {error.strerror}.", "Check its permissions.") from error
    if "home" in values:
        raise BadSetting(
            f'{path}: "home" cannot be set in a file that lies in it.', "Set INNER_HOME in the environment."
        )
    return values


def load_settings(**flags: Any) -> Settings:
    """The settings with these flags on top; a flag of None was not given.

    Raises BadSetting, which names the file, variable or flag, the key and what is allowed.
    """
    given = {name: value for name, value in flags.items() if value is not None}
    try:
        return Settings(**given)
    except ValidationError as error:
        raise _explained(error, given) from error


def _explained(error: ValidationError, flags: Mapping[str, Any]) -> BadSetting:
    first = error.errors(include_url=False)[0]
    key = str(first["loc"][0]) if first["loc"] else ""
    home = flags.get("home") or default_home()
    if key in flags:
        where = f"--{key.replace('_', '-')}"
    elif PREFIX + key.upper() in os.environ:
        where = f"environment variable {PREFIX + key.upper()}"
    else:
        where = f'{Path(home).expanduser() / "config.toml"}: "{key}"'
    if first["type"] == "extra_forbidden":
        return BadSetting(f"{where} is not a setting.", f"Allowed: {', '.join(known_settings())}.")
    return BadSetting(f"{where} is {first['input']!r}.", f"Allowed: {allowed(key, first['msg'])}.")


def known_settings() -> tuple[str, ...]:
    """The keys config.toml may hold, in the order of the class."""
    return tuple(name for name in Settings.model_fields if name != "home")


def allowed(key: str, message: str) -> str:
    """What a setting may be, in words."""
    words = {
        "threads": "a whole number from 1 to 256, or leave it out to have it measured",
        "cells": "a whole number from 512 to 1048576",
        "port": "a whole number from 1024 to 65535",
        "budget": "a number from 0 (never ask) to 1 (ask whenever it forks)",
        "seed": "a whole number from 0 to 2147483647",
        "browser": "true or false",
        "debug": "true or false",
        "log_level": "debug, info, warning or error",
        "budget_ms": "milliseconds, from 100 to 600000",
        "model": '"embedded" or the path of a GGUF file',
    }
    return words.get(key, re.sub(r"^Input ", "", message))
