"""Processes of ours: one child with its log, its restarts and its end, and the lock on a data directory.

Owns spawning, back-off, signals and log files of children. Must not know what a child does, which children
there are, or what is shown to a person: it reports states, `supervise` decides.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import re
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Literal

import orchestrator
from orchestrator.child import PARENT
from orchestrator.errors import AlreadyRunning

LOG_LIMIT = 5_000_000
"""Bytes a log may have at a start; a longer one becomes NAME.log.1."""
RESTART_LIMIT = 5
FIRST_DELAY_S = 0.2
STABLE_S = 10.0
"""A child that was ready for so long starts counting its restarts anew (jupyter_client's figures)."""
HOPELESS = frozenset({2, 5, 78})
"""Exit codes that say: the same again will end the same way (usage, model file, configuration)."""

State = Literal["starting", "ready", "resting", "dead", "stopped"]
"""resting: died, and will be started again after a pause. dead: will not."""


@dataclass(frozen=True)
class Holder:
    """Who holds the lock of a data directory."""

    pid: int
    command: str
    since: str


class Lock:
    """The one lock on a data directory: an flock, which the kernel drops with its holder whatever happens.

    The file's content only tells others who that is.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd: int | None = None

    def acquire(self, command: str) -> None:
        """Take it. Raises AlreadyRunning, which says who holds it."""
        fd = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            raise self._taken() from None
        now = datetime.now(UTC).astimezone().isoformat(timespec="seconds")
        os.ftruncate(fd, 0)
        os.pwrite(fd, json.dumps({"pid": os.getpid(), "command": command, "since": now}).encode(), 0)
        self._fd = fd

    def _taken(self) -> AlreadyRunning:
        holder = read_holder(self.path)
        who = "another process"
        if holder is not None:
            who = f"process {holder.pid} ({holder.command}, since {holder.since})"
        return AlreadyRunning(
            f"Already running: {who} works in {self.path.parent}.",
            "Stop it first (Ctrl-C there), or give another directory with INNER_HOME.",
        )

    def release(self) -> None:
        if self._fd is not None:
            os.ftruncate(self._fd, 0)
            os.close(self._fd)
            self._fd = None

    def __enter__(self) -> Lock:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def read_holder(path: Path) -> Holder | None:
    """What the lock file says, without taking the lock; None where nobody holds it.

    The flock itself is not tried: that would keep a starting `inner` out for a moment. The holder is believed
    as long as its process lives.
    """
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
        holder = Holder(pid=int(body["pid"]), command=str(body["command"]), since=str(body["since"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return holder if alive(holder.pid) else None


def alive(pid: int) -> bool:
    """True where a process of that id exists."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def tail(path: Path, *, start: int = 0, lines: int = 8) -> str:
    """The last lines of a log, not before byte `start`."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(start, size - 8192))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return ""
    return "\n".join(text.rstrip().splitlines()[-lines:])


class Restarts:
    """How often and after what pause a child is started again: 5 times, 0.2 s doubling."""

    def __init__(
        self, limit: int = RESTART_LIMIT, first: float = FIRST_DELAY_S, stable: float = STABLE_S
    ) -> None:
        self.limit, self.first, self.stable = limit, first, stable
        self.count = 0

    def after(self, ready_for: float) -> float | None:
        """Seconds to wait before the next start, or None: enough. `ready_for`: how long it had worked."""
        if ready_for >= self.stable:
            self.count = 0
        self.count += 1
        return self.first * 2 ** (self.count - 1) if self.count <= self.limit else None


@dataclass(frozen=True)
class Part:
    """What a child is: a module with arguments, and how one sees that it is ready."""

    name: str
    module: str
    args: tuple[str, ...] = ()
    env: Mapping[str, str | None] = field(default_factory=dict)
    """On top of the parent's; None removes a variable."""
    probe: Callable[[], Awaitable[None]] | None = None
    """Returns when the child just started is ready; cancelled when it dies first."""
    essential: bool = True
    """False: the others go on without it."""


def child_environment(extra: Mapping[str, str | None]) -> dict[str, str]:
    """The environment of a child: ours, the code it must import, our pid, and `extra`."""
    env: dict[str, str | None] = dict(os.environ)
    root = str(Path(next(iter(orchestrator.__path__))).parent)
    before = env.get("PYTHONPATH")
    env |= {
        "PYTHONPATH": os.pathsep.join([root, before] if before else [root]),
        "PYTHONUNBUFFERED": "1",
        "PYTHONFAULTHANDLER": "1",
        PARENT: str(os.getpid()),
        **extra,
    }
    return {name: value for name, value in env.items() if value is not None}


def command(module: str, args: tuple[str, ...] = ()) -> list[str]:
    """The command line of a child. -P: a folder `ui` or `prompts` where a person stands is not ours."""
    return [sys.executable, "-P", "-m", "orchestrator.child", module, *args]


class Child:
    """One child, kept alive: spawned into a session of its own, restarted with back-off, ended on request.

    `changed(child)` is called at every change of state, in the event loop.
    """

    def __init__(
        self,
        part: Part,
        logs: Path,
        changed: Callable[[Child], None],
        *,
        restarts: Restarts | None = None,
    ) -> None:
        self.part = part
        self.log = logs / (re.sub(r"[^\w-]", "-", part.name) + ".log")
        self.state: State = "starting"
        self.detail = ""
        self.code: int | None = None
        """How its last life ended: exit code, or minus the signal."""
        self.restarts = restarts or Restarts()
        self._changed = changed
        self._process: asyncio.subprocess.Process | None = None
        self._log_start = 0
        self._stop = asyncio.Event()
        self._ready_at: float | None = None
        self._settled = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def name(self) -> str:
        return self.part.name

    @property
    def pid(self) -> int | None:
        """Process id while it runs."""
        running = self._process is not None and self._process.returncode is None
        return self._process.pid if running and self._process else None

    def start(self) -> None:
        """Begin to keep it alive; returns at once."""
        self._task = asyncio.get_running_loop().create_task(self._keep(), name=f"child {self.name}")

    async def settled(self) -> None:
        """Returns when it is ready for the first time, or dead, or stopped."""
        await self._settled.wait()
        if self._task is not None and self._task.done():
            self._task.result()  # an error of ours, not of the child's: let it be seen

    def last_words(self, lines: int = 8) -> str:
        """The tail of what it wrote since its last start."""
        return tail(self.log, start=self._log_start, lines=lines)

    async def _keep(self) -> None:
        try:
            while not self._stop.is_set():
                code = self.code = await self._live()
                if self._stop.is_set():
                    break
                ready_for = 0.0 if self._ready_at is None else time.monotonic() - self._ready_at
                delay = None if code in HOPELESS else self.restarts.after(ready_for)
                if delay is None:
                    self._become("dead", ended(code))
                    return
                self._become("resting", f"{ended(code)}, back in {delay:.1f} s")
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stop.wait(), delay)
            self._become("stopped")
        finally:
            self._settled.set()

    async def _live(self) -> int:
        """One life: spawn, probe, wait for the end. Returns the exit code (negative: a signal)."""
        self._ready_at = None
        with self._open_log() as log:
            self._process = await asyncio.create_subprocess_exec(
                *command(self.part.module, self.part.args),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=child_environment(self.part.env),
                start_new_session=True,
            )
        if self._stop.is_set():  # terminate() came while it was being born
            self._send(signal.SIGTERM)
        self._become("starting", f"process {self._process.pid}")
        probe = asyncio.get_running_loop().create_task(self._probe())
        try:
            return await self._process.wait()
        finally:
            probe.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await probe

    def _open_log(self) -> BinaryIO:
        """The log opened to append, after a line that tells this life from the one before."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        if self.log.exists() and self.log.stat().st_size > LOG_LIMIT:
            self.log.replace(self.log.with_suffix(".log.1"))
        log = self.log.open("ab")
        log.write(f"--- started {datetime.now(UTC).isoformat(timespec='seconds')}\n".encode())
        log.flush()
        self._log_start = log.tell()
        return log

    async def _probe(self) -> None:
        if self.part.probe is not None:
            await self.part.probe()
        self._ready_at = time.monotonic()
        self._become("ready", f"process {self.pid}")

    def _become(self, state: State, detail: str = "") -> None:
        self.state, self.detail = state, detail
        if state in ("ready", "dead", "stopped"):
            self._settled.set()
        self._changed(self)

    def _send(self, sig: signal.Signals) -> None:
        if self.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, sig)  # its own session, so its own group: helpers of its go too

    def terminate(self) -> None:
        """Ask it to end, and do not start it again."""
        self._stop.set()
        self._send(signal.SIGTERM)

    def kill(self) -> None:
        """End it, now."""
        self._stop.set()
        self._send(signal.SIGKILL)

    async def gone(self) -> None:
        """Returns when it has ended for good."""
        if self._task is not None:
            await asyncio.shield(self._task)


def ended(code: int) -> str:
    """An exit code in words."""
    if code >= 0:
        return f"ended with code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"
