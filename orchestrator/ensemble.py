"""The whole of it over one data directory: lock, store, model, engine, voices, orchestrator, page.

Owns which processes there are, with what arguments, in what order, and how each is seen to be ready. Must not
know how processes are kept alive (`supervise`) nor anything of a dialogue.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sqlite3
import sys
import threading
import webbrowser
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from orchestrator import feed
from orchestrator.errors import EXIT_MODEL, ModelError, PartFailed, PortTaken
from orchestrator.process import Child, Lock, Part
from orchestrator.progress import Progress
from orchestrator.settings import Settings
from orchestrator.store import Store
from orchestrator.supervise import STATE_FILE, Supervisor
from voices.engine.client import EngineClient, EngineError
from voices.engine.prepare import PrepareError, prepare
from voices.engine.protocol import Info
from voices.role import CHOIR, ModeSpec, load_modes

EMBEDDED_NAME = "SmolLM2-135M-Instruct"
HEALTH = "/_stcore/health"
PORTS_TRIED = 100
PROBE_S = 0.1
ENGINE_PATIENCE_S = 0.5
"""The engine answers `info` at once or it is not there yet."""
VOICE_PATIENCE_S = 20.0
"""A voice that is not there by then joins later: the others begin."""
VOICE_READY = frozenset({"ready", "speaking", "back"})


def voice_names(modes: Mapping[str, ModeSpec]) -> list[str]:
    """Every voice of every mode once: the choir first, a person's own after it."""
    names = {role.name for mode in modes.values() for role in mode.voices}
    return [name for name in CHOIR if name in names] + sorted(names - set(CHOIR))


def free_port(settings: Settings) -> int:
    """The port asked for, else 8501 or the next free one. Raises PortTaken."""
    tried = 1 if settings.port_asked else PORTS_TRIED
    for port in range(settings.port, min(settings.port + tried, 65536)):
        if _can_listen(settings.host, port):
            return port
    raise PortTaken(
        f"Port {settings.port} on {settings.host} is taken by another program.",
        "Give another one with --port, or leave it out: the next free one is used.",
    )


def _can_listen(host: str, port: int) -> bool:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def has_display() -> bool:
    """True where a browser could open a window."""
    if sys.platform in ("darwin", "win32"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def open_browser(url: str) -> None:
    """Open the page, without waiting for the browser."""
    threading.Thread(target=webbrowser.open, args=(url,), name="browser", daemon=True).start()


class Ensemble:
    """Everything that runs for `inner run`, `think` or `resume`.

    `start` takes the lock and returns when all are ready; `stop` ends everything and gives the lock back,
    whatever happened. `listener(child)` hears every change of state of a process.
    """

    def __init__(
        self,
        settings: Settings,
        progress: Progress,
        *,
        command: str,
        page: bool = True,
        listener: Callable[[Child], None] = lambda child: None,
    ) -> None:
        self.settings = settings
        self.modes: dict[str, ModeSpec] = {}
        self.model_name = ""
        self.port: int | None = None
        self.supervisor: Supervisor | None = None
        self._progress = progress
        self._command = command
        self._page = page
        self._listener = listener
        self._lock: Lock | None = None
        self._events: feed.Subscriber | None = None
        self._listening: asyncio.Task[None] | None = None
        self._status = feed.Status()
        self._n_heard = 0
        self._news = asyncio.Condition()

    @property
    def url(self) -> str:
        """Where the page is."""
        host = "127.0.0.1" if self.settings.host in ("0.0.0.0", "::") else self.settings.host
        return f"http://{host}:{self.port}"

    async def start(self) -> None:
        """Take the lock, look at everything a person may have got wrong, then start the processes.

        Raises AlreadyRunning, NotWritable, UnsafeDirectory, PromptFileError, StoreError, PortTaken,
        ModelError, PartFailed.
        """
        settings = self.settings
        settings.make_dirs()
        lock = Lock(settings.lock_path)
        lock.acquire(self._command)
        self._lock = lock
        self.modes = load_modes([settings.prompts_dir])
        with Store.open(settings.store_path) as store:
            journal, _ = store.journal()
        if self._page:
            self.port = free_port(settings)
        model = await self._prepare()
        self.supervisor = Supervisor(
            settings.logs_dir, self._listener, state_file=settings.run_dir / STATE_FILE
        )
        info = await self._start_engine(model)
        names = voice_names(self.modes)
        self._progress.begin("voices", " · ".join([*names, "gate"]) + ": waking")
        self._events = feed.Subscriber(settings.feed)
        self._listening = asyncio.create_task(self._listen(self._events))
        await self.supervisor.start(self._parts(names), patience=VOICE_PATIENCE_S)
        self._progress.done(
            "engine", f"{info.threads} thread{'s' if info.threads > 1 else ''} · {self.model_name}"
        )
        self._progress.done("voices", " · ".join([*self._awake(names), "gate"]))
        self._progress.done(
            "store",
            f"{settings.store_path} (journal mode {journal.upper()}: SQLite {sqlite3.sqlite_version})",
        )

    async def watch(self) -> None:
        """Never returns; raises PartFailed when a process the others need is dead."""
        assert self.supervisor is not None
        await self.supervisor.watch()

    async def stop(self) -> None:
        """End every process within 5 s and give the lock back."""
        self._progress.close()
        if self.supervisor is not None:
            await self.supervisor.stop()
            self.supervisor = None
        if self._listening is not None and self._events is not None:
            self._listening.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._listening
            await self._events.close()
            self._listening = None
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def kill(self) -> None:
        """SIGKILL to every process, now; `stop` then returns at once."""
        if self.supervisor is not None:
            self.supervisor.kill()

    async def _prepare(self) -> Path:
        settings = self.settings
        name = EMBEDDED_NAME if settings.embedded else Path(settings.model).name
        self._progress.begin("model", name)

        def say(text: str) -> None:
            self._progress.update(f"{name}: {text}")

        try:
            path = await asyncio.to_thread(prepare, settings.model, settings.models_dir, say)
        except PrepareError as error:
            raise ModelError(f"{error}.", "") from error
        self._progress.done("model", f"{name} ({path.name})" if settings.embedded else str(path))
        return path

    async def _start_engine(self, model: Path) -> Info:
        assert self.supervisor is not None
        settings = self.settings
        args = ["--model", str(model), "--endpoint", settings.engine, "--cells", str(settings.cells)]
        if settings.threads is not None:
            args += ["--threads", str(settings.threads)]
        env: dict[str, str | None] = {
            **settings.environment(),
            "GOMP_SPINCOUNT": "1000",
            "OMP_WAIT_POLICY": None,
        }
        found: list[Info] = []

        async def probe() -> None:
            found.append(await self._ask_engine())

        self._progress.begin("engine", "loading the model")
        try:
            await self.supervisor.start([Part("engine", "voices.engine", tuple(args), env, probe)])
        except PartFailed as error:
            engine = self.supervisor.children["engine"]
            if engine.code != EXIT_MODEL:
                raise
            raise ModelError(engine.last_words(1).removeprefix("engine: ")) from error
        # What a GGUF calls itself is often a training run's name.
        self.model_name = EMBEDDED_NAME if self.settings.embedded else found[-1].name
        return found[-1]

    async def _ask_engine(self) -> Info:
        while True:
            info = await asyncio.to_thread(ask_engine, self.settings.engine)
            if info is not None:
                return info
            await asyncio.sleep(PROBE_S)

    def _parts(self, names: list[str]) -> list[Part]:
        settings = self.settings
        env: dict[str, str | None] = dict(settings.environment())
        parts = [Part("orchestrator", "orchestrator", (), env, self._orchestrator_ready)]
        hearing = {**env, "INNER_HUB": settings.hub, "INNER_ENGINE": settings.engine}
        for name in names:
            args = (name, "--prompts", str(settings.prompts_dir))
            parts.append(
                Part(name, "voices.worker", args, hearing, partial(self._voice_ready, name), essential=False)
            )
        if self.port is not None:
            address = ("--port", str(self.port), "--host", settings.host)
            parts.append(Part("ui", "ui", address, env, self._page_ready))
        return parts

    async def _listen(self, events: feed.Subscriber) -> None:
        async for event in events:
            if isinstance(event, feed.Status):
                async with self._news:
                    self._status = event
                    self._n_heard += 1
                    self._news.notify_all()

    async def _orchestrator_ready(self) -> None:
        before = self._n_heard
        async with self._news:
            await self._news.wait_for(lambda: self._n_heard > before)

    async def _voice_ready(self, name: str) -> None:
        async with self._news:
            await self._news.wait_for(lambda: name in self._awake([name]))

    def _awake(self, names: list[str]) -> list[str]:
        voices = self._status.voices
        return [name for name in names if name in voices and voices[name].state in VOICE_READY]

    async def _page_ready(self) -> None:
        assert self.port is not None
        while True:
            if await page_answers(self.settings.host, self.port):
                return
            await asyncio.sleep(PROBE_S)


def ask_engine(endpoint: str, patience: float = ENGINE_PATIENCE_S) -> Info | None:
    """What the engine at `endpoint` says of itself; None where none answers."""
    try:
        with EngineClient(endpoint, patience=patience) as client:
            return client.info()
    except EngineError:
        return None


async def page_answers(host: str, port: int) -> bool:
    """True when the page's health address answers 200."""
    try:
        reader, writer = await asyncio.open_connection(host, port)
    except OSError:
        return False
    try:
        writer.write(f"GET {HEALTH} HTTP/1.0\r\nHost: {host}:{port}\r\n\r\n".encode())
        await writer.drain()
        return b" 200 " in await asyncio.wait_for(reader.readline(), 2.0)
    except (OSError, TimeoutError):
        return False
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
