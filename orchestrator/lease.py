"""What the hub knows of one voice: who it is, since when it is silent, and the asks it holds.

Owns the records and their small rules (credits, order of waiting, signs of life). Knows nothing of sockets:
`bus` sends and receives, and decides.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import os
import select
import signal
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Literal, TypeVar

from voices import wire

State = Literal["ready", "speaking", "silent", "gone"]
REMEMBERED = 2048
"""Ended requests and unruly peers remembered, each some hundred bytes; older ones are forgotten."""
_order = itertools.count()
Key = TypeVar("Key", bound=Hashable)


class Memory(OrderedDict[Key, int]):
    """A number for each of the last REMEMBERED keys that were written."""

    def __setitem__(self, key: Key, value: int) -> None:
        super().__setitem__(key, value)
        self.move_to_end(key)
        if len(self) > REMEMBERED:
            self.popitem(last=False)


@dataclass(frozen=True)
class VoiceState:
    """A voice as others see it. `since` is when it said hello; `modes` empty: it speaks in all of them."""

    state: State
    modes: tuple[str, ...]
    slots: int
    pid: int | None
    since: datetime
    detail: str = ""


@dataclass(eq=False)
class Request:
    """One ask: waiting for a credit, out at its voice, or closed and still holding the voice's credit."""

    ask: wire.Ask
    """Its budget is what was given; what is left is sent."""
    deadline: float
    """On the loop's clock."""
    answer: asyncio.Future[wire.Proposal | wire.Declined]
    on_partial: Callable[[wire.Partial], None] | None
    seq: int = 0
    steps: int = -1
    phase: str = ""
    moved: float = 0.0
    """When its steps or phase last changed."""
    timers: list[asyncio.TimerHandle] = field(default_factory=list)
    order: int = field(default_factory=lambda: next(_order))

    @property
    def id(self) -> str:
        return self.ask.request

    def __lt__(self, other: Request) -> bool:
        return (self.ask.priority, self.order) < (other.ask.priority, other.order)

    def reply(self, answer: wire.Proposal | wire.Declined) -> None:
        """Answer whoever waits, once."""
        if not self.answer.done():
            self.answer.set_result(answer)

    def progress(self, steps: int, phase: str, now: float) -> None:
        """A sign of progress, from a partial or a pong."""
        if (steps, phase) != (self.steps, self.phase):
            self.steps, self.phase, self.moved = steps, phase, now

    def drop_timers(self) -> None:
        while self.timers:
            self.timers.pop().cancel()


@dataclass(eq=False)
class Lease:
    """A voice that was welcomed. `requests` hold a credit each; `waiting` is a heap of those without one."""

    hello: wire.Hello
    identity: bytes
    since: datetime
    heard: float
    pidfd: int | None = None
    silent_since: float | None = None
    ladder: int = 0
    """Signals sent to a silent process so far: 0, 1 (SIGTERM), 2 (SIGKILL)."""
    requests: dict[str, Request] = field(default_factory=dict)
    waiting: list[Request] = field(default_factory=list)
    said: str = ""
    """The state last told to others."""

    @property
    def name(self) -> str:
        return self.hello.voice

    @property
    def slots(self) -> int:
        return max(1, min(self.hello.slots, 64))

    @property
    def modes(self) -> tuple[str, ...]:
        modes = self.hello.capabilities.get("modes", ())
        return modes if isinstance(modes, tuple) else ()

    @property
    def state(self) -> State:
        if self.silent_since is not None:
            return "silent"
        speaking = any(not request.answer.done() for request in self.requests.values())
        return "speaking" if speaking else "ready"

    def snapshot(self) -> VoiceState:
        return VoiceState(self.state, self.modes, self.slots, self.hello.pid, self.since)

    def next_waiting(self) -> Request | None:
        """The most urgent ask that somebody still waits for, if there is a credit for it."""
        while self.waiting and len(self.requests) < self.slots:
            request = heapq.heappop(self.waiting)
            if not request.answer.done():
                return request
        return None

    def wait(self, request: Request) -> None:
        heapq.heappush(self.waiting, request)

    def find(self, request_id: str) -> Request | None:
        """The ask of that id, out or waiting."""
        waiting = (request for request in self.waiting if request.id == request_id)
        return self.requests.get(request_id) or next(waiting, None)

    def take_all(self) -> list[Request]:
        """Every ask it held or that waited for it; it holds none afterwards."""
        requests = [*self.requests.values(), *self.waiting]
        self.requests.clear()
        self.waiting.clear()
        return requests


def watch(pid: int | None) -> int | None:
    """A descriptor that becomes readable when the process ends; None where that cannot be had."""
    if pid is None or not hasattr(os, "pidfd_open"):
        return None
    try:
        return os.pidfd_open(pid)
    except OSError:  # ended already, or of another machine or namespace: pongs have to do
        return None


def ended(pidfd: int | None) -> bool:
    """True where the process of this descriptor is known to have ended."""
    if pidfd is None:
        return False
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(0))


def signal_voice(lease: Lease, number: signal.Signals, endpoint: str) -> bool:
    """Signal the voice's process, if it was started for this hub: a pid in a hello is only a claim."""
    if lease.pidfd is None or lease.hello.pid is None:
        return False
    try:
        environment = Path(f"/proc/{lease.hello.pid}/environ").read_bytes().split(b"\0")
        if b"INNER_HUB=" + endpoint.encode() not in environment:
            return False
        signal.pidfd_send_signal(lease.pidfd, number)
    except OSError:
        return False
    return True
