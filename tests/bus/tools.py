"""What the tests of bus and voices share: a bare peer on the bus, voices as processes, patience without sleeps."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import zmq
import zmq.asyncio

from orchestrator.bus import Answer, Hub
from voices import wire

ROOT = Path(__file__).parents[2]
PATIENCE_S = 20.0
"""How long a test waits for what must happen. Nothing is measured by it: a loaded machine may take its time."""
OPENING = (wire.Turn(author="Me", text="I keep postponing the call to my father.", human=True),)
M = TypeVar("M")
Spawn = Callable[..., "subprocess.Popen[str]"]


async def until(true: Callable[[], object]) -> None:
    """Wait until `true()`; fails when it never is."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            if true():
                return
            await asyncio.sleep(0.01)


async def soon(awaitable: Awaitable[M]) -> M:
    """The result; fails when it never comes."""
    return await asyncio.wait_for(awaitable, PATIENCE_S)


class Events(list[tuple[str, str, str]]):
    """What a hub said of its voices."""

    def __call__(self, name: str, state: str, detail: str) -> None:
        self.append((name, state, detail))

    def states(self, name: str) -> list[str]:
        return [state for who, state, _ in self if who == name]

    def course(self, name: str) -> list[str]:
        """The states without the silences a loaded machine may bring."""
        calm = [state for state in self.states(name) if state not in ("silent", "back")]
        return [state for n, state in enumerate(calm) if n == 0 or state != calm[n - 1]]


@contextlib.asynccontextmanager
async def hub_at(run_dir: Path, **options: Any) -> AsyncIterator[Hub]:
    hub = Hub(f"ipc://{run_dir / 'hub.sock'}", run_dir, **options)
    await hub.start()
    try:
        yield hub
    finally:
        await hub.stop()


def ask(hub: Hub, voice: str = "Echo", request: str = "", **more: Any) -> asyncio.Task[Answer]:
    """An ask under way, with ample budget."""
    fields: dict[str, Any] = {
        "request": request or uuid.uuid4().hex,
        "thread": "thread-1",
        "mode": "journal",
        "context": OPENING,
        "budget_ms": 60_000,
    }
    return asyncio.get_running_loop().create_task(hub.ask(voice, **(fields | more)))


class Peer:
    """A bare DEALER: says what a test tells it, and nothing by itself except pongs, if wanted."""

    def __init__(self, endpoint: str, *, pongs: bool = True) -> None:
        self.pongs = pongs
        self.busy: tuple[wire.Busy, ...] = ()
        self.session = uuid.uuid4().hex
        self._context = zmq.asyncio.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.connect(endpoint)

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *_: object) -> None:
        self._context.destroy(linger=0)

    async def say(self, message: wire.Message) -> None:
        await self._socket.send_multipart(wire.encode(message))

    async def say_frames(self, *frames: bytes) -> None:
        await self._socket.send_multipart(list(frames))

    async def hear(self, kind: type[M]) -> M:
        """The next message of that kind; pings are answered, others are passed over."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                message = wire.decode(await self._socket.recv_multipart())
                if isinstance(message, wire.Ping) and self.pongs:
                    await self.say(wire.Pong(n=message.n, busy=self.busy))
                if isinstance(message, kind):
                    return message

    async def hello(self, voice: str = "Echo", **more: Any) -> wire.Welcome:
        await self.say(wire.Hello(**({"voice": voice, "session": self.session, "slots": 4} | more)))
        return await self.hear(wire.Welcome)

    def proposal(self, ask: wire.Ask, text: str = "Words.", **more: Any) -> wire.Proposal:
        fields = {"epoch": ask.epoch, "request": ask.request, "seq": 9, "text": text, "finish": "end"}
        return wire.Proposal(**(fields | more))

    def partial(self, ask: wire.Ask, seq: int, text: str) -> wire.Partial:
        return wire.Partial(epoch=ask.epoch, request=ask.request, seq=seq, text=text)

    def staying(self) -> contextlib.AbstractAsyncContextManager[None]:
        """Answers pings in the background; `hear` must not be used meanwhile."""
        return _background(self._stay())

    async def _stay(self) -> None:
        while True:
            message = wire.decode(await self._socket.recv_multipart())
            if isinstance(message, wire.Ping):
                await self.say(wire.Pong(n=message.n, busy=self.busy))


@contextlib.asynccontextmanager
async def _background(work: Awaitable[None]) -> AsyncIterator[None]:
    task = asyncio.ensure_future(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@contextlib.contextmanager
def sleeping(**env: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process that does nothing, ended with the block."""
    command = [sys.executable, "-c", "import time; time.sleep(600)"]
    with subprocess.Popen(command, env=os.environ | env) as process:
        try:
            yield process
        finally:
            process.kill()


@contextlib.contextmanager
def spawning(hub: str, engine: str) -> Iterator[Spawn]:
    """Starts voices as processes; ends them with the test, however it ends."""
    children: list[subprocess.Popen[str]] = []

    def spawn(*args: str | Path, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        environment = os.environ | {
            "INNER_HUB": hub,
            "INNER_ENGINE": engine,
            "PYTHONPATH": str(ROOT),
            "PYTHONWARNINGS": "error",
            **(env or {}),
        }
        command = [sys.executable, *map(str, args)]
        child = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        children.append(child)
        return child

    try:
        yield spawn
    finally:
        for child in children:
            child.kill()
            child.communicate()
