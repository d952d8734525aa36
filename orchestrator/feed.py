"""The live feed: what happens right now, for display only. Losing it loses nothing: the store is the truth.

Owns the events, their two frames, and both ends of the PUB/SUB pair. Must not know who shows them, and is
never the way a choice or a thought travels. Every event carries `seq`: a gap or a step back (the orchestrator
was restarted) means events were lost, and the subscriber says so with `Gap`: read the store again.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import AsyncIterator
from typing import Annotated, Literal

import zmq
import zmq.asyncio
from pydantic import Field, TypeAdapter, ValidationError

from voices.wire import Frozen, WireError

TAG = b"FEED1"
MAX_BYTES = 1024 * 1024
HIGH_WATER = 1000
"""Events kept for a slow reader; what is over is dropped, and shows as a gap."""

VoiceWord = Literal["ready", "speaking", "silent", "back", "gone"]
EngineWord = Literal["starting", "ready", "lost"]
ThreadWord = Literal["thinking", "waiting", "resting", "paused"]


class Words(Frozen):
    """A thought being spoken: all of its text so far."""

    kind: Literal["words"] = "words"
    thread: str
    voice: str
    text: str
    phase: Literal["lead", "fork"]
    """lead: the next thought of the thread. fork: a voice proposing beside it."""


class StoreChanged(Frozen):
    """Something about the thread changed in the store: read it again."""

    kind: Literal["store"] = "store"
    thread: str


class VoiceEvent(Frozen):
    """A voice changed its state."""

    kind: Literal["voice"] = "voice"
    voice: str
    state: VoiceWord
    detail: str = ""


class VoiceStatus(Frozen):
    state: VoiceWord
    detail: str = ""


class EngineStatus(Frozen):
    state: EngineWord
    name: str = ""
    """The model's name."""
    detail: str = ""


class ThreadStatus(Frozen):
    state: ThreadWord
    detail: str = ""


class Status(Frozen):
    """Everything at once: every second, and at changes."""

    kind: Literal["status"] = "status"
    voices: dict[str, VoiceStatus] = Field(default_factory=dict)
    engine: EngineStatus = EngineStatus(state="starting")
    threads: dict[str, ThreadStatus] = Field(default_factory=dict)


class Note(Frozen):
    """One line for a person."""

    kind: Literal["note"] = "note"
    thread: str
    text: str


class Gap(Frozen):
    """Made by the subscriber: events were lost here."""

    kind: Literal["gap"] = "gap"


Event = Annotated[Words | StoreChanged | VoiceEvent | Status | Note, Field(discriminator="kind")]
KINDS = (Words, StoreChanged, VoiceEvent, Status, Note, Gap)
_event: TypeAdapter[Event] = TypeAdapter(Event)


def encode(seq: int, event: Event) -> list[bytes]:
    """Two frames: tag, and {"seq": n, "kind": …}."""
    return [
        TAG,
        json.dumps({"seq": seq, **event.model_dump()}, ensure_ascii=False).encode("utf-8", "replace"),
    ]


def decode(frames: list[bytes]) -> tuple[int, Event]:
    """(seq, event) of two frames. Raises WireError for anything else."""
    if len(frames) != 2 or frames[0] != TAG or len(frames[1]) > MAX_BYTES:
        raise WireError("not a FEED1 event")
    try:
        body = json.loads(frames[1])
        return int(body["seq"]), _event.validate_python(body)
    except (ValidationError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise WireError(f"not a FEED1 event: {str(error)[:200]}") from error


class Publisher:
    """The orchestrator's end: binds `endpoint`. May be called from several threads; never waits."""

    def __init__(self, endpoint: str) -> None:
        self._lock = threading.Lock()
        self._seq = 0
        self._socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.PUB)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.SNDHWM, HIGH_WATER)
        self._socket.bind(endpoint)

    def publish(self, event: Event) -> int:
        """Send to whoever listens; returns the event's seq."""
        with self._lock:
            self._seq += 1
            self._socket.send_multipart(encode(self._seq, event), zmq.NOBLOCK)
            return self._seq

    def close(self) -> None:
        with self._lock:
            self._socket.close()

    def __enter__(self) -> Publisher:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Order:
    """Watches the seq of a feed: tells a gap (or a restart) from the next event."""

    def __init__(self) -> None:
        self._last: int | None = None

    def lost(self, seq: int) -> bool:
        """True where events are missing before `seq`; the very first event is no gap."""
        lost = self._last is not None and seq != self._last + 1
        self._last = seq
        return lost


def _listening(endpoint: str) -> zmq.asyncio.Socket:
    # Made as an asyncio socket, not `from_socket`: that leaves a second owner of the handle, which at its collection
    # closes whatever socket has the address by then.
    socket = zmq.asyncio.Socket(zmq.Context.instance(), zmq.SUB)
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.RCVHWM, HIGH_WATER)
    socket.setsockopt(zmq.MAXMSGSIZE, MAX_BYTES)
    socket.setsockopt(zmq.RECONNECT_IVL, 20)
    socket.setsockopt(zmq.RECONNECT_IVL_MAX, 200)
    socket.setsockopt(zmq.SUBSCRIBE, TAG)
    socket.connect(endpoint)
    return socket


class Subscriber:
    """A reader's end for asyncio: `async for event in subscriber`. Connects now or when a publisher appears.

    One pump task owns the socket and is cancelled only by `close`, so that no event is lost to a time limit
    around a receive. A reader too slow for the feed loses the oldest events and gets a Gap.
    """

    def __init__(self, endpoint: str) -> None:
        self._socket = _listening(endpoint)
        self._queue: asyncio.Queue[Event | Gap] = asyncio.Queue(HIGH_WATER)
        self._pump = asyncio.get_running_loop().create_task(self._read(), name="feed")

    async def _read(self) -> None:
        order = Order()
        while True:
            frames = await self._socket.recv_multipart()
            try:
                seq, event = decode(frames)
            except WireError:
                continue  # a stranger's bytes: display only, nothing depends on it
            if order.lost(seq):
                self._put(Gap())
            self._put(event)

    def _put(self, event: Event | Gap) -> None:
        if self._queue.full():
            while not self._queue.empty():
                self._queue.get_nowait()
            self._queue.put_nowait(Gap())
        self._queue.put_nowait(event)

    async def next(self, wait_s: float | None = None) -> Event | Gap | None:
        """The next event, or None after `wait_s` seconds."""
        try:
            async with asyncio.timeout(wait_s):
                return await self._queue.get()
        except TimeoutError:
            return None

    async def __aiter__(self) -> AsyncIterator[Event | Gap]:
        while True:
            yield await self._queue.get()

    async def close(self) -> None:
        self._pump.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._pump
        self._socket.close()

    async def __aenter__(self) -> Subscriber:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
