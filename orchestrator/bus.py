"""The hub of the bus: one ROUTER socket, and the asks that are under way.

Owns the socket, credits and deadlines, and that whoever asks gets exactly one answer, whatever the voice
does. Who is here is `presence`. Knows nothing of what is asked, of the store, or of who starts the voices.
The protocol is docs/protocol.md.

Two rules that cost others dearly: a `recv` is never cancelled (one pump task reads; timeouts are on futures),
and ROUTER_MANDATORY is set (a message that has nowhere to go is an error here, not a silence there).
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import zmq
import zmq.asyncio

from orchestrator.errors import BadSetting
from orchestrator.feed import VoiceWord
from orchestrator.lease import Lease, Memory, Request, VoiceState
from orchestrator.presence import Presence, Sent
from orchestrator.process import Lock
from voices import wire

log = logging.getLogger(__name__)

OnVoice = Callable[[str, VoiceWord, str], None]
OnPartial = Callable[[wire.Partial], None]
OnLate = Callable[[wire.Proposal], None]
Answer = wire.Proposal | wire.Declined

STRIKES = 8
"""Frames that are no messages, after which a peer is not listened to any more."""
GRACE_S = 2.0
"""How long a cancelled ask keeps its credit when the voice does not confirm."""
ANSWER_S = 0.3
"""How long after its budget a voice's own last word is waited for."""


class Hub:
    """Voices by name, and `ask`. `endpoint` must be ipc, in `run_dir`, which is locked while the hub runs.

    `on_voice(name, state, detail)` is told of ready, speaking, silent, back and gone; `on_late(proposal)` of
    words that came after their request was closed. Both are called in the event loop and must not block.
    """

    def __init__(
        self,
        endpoint: str,
        run_dir: Path,
        *,
        on_voice: OnVoice = lambda name, state, detail: None,
        on_late: OnLate = lambda proposal: None,
        ping_ms: int = 250,
        stall_ms: int = 8000,
    ) -> None:
        self.endpoint = endpoint
        self.epoch = uuid.uuid4().hex
        self.counters: Counter[str] = Counter()
        """Dropped frames by cause: old_epoch, poison, late, duplicate, out_of_order, unknown_type, …"""
        self._presence = Presence(self, endpoint, ping_ms, self.epoch)
        self._on_voice = on_voice
        self._on_late = on_late
        self._stall_s = stall_ms / 1000
        self._lock = Lock(run_dir / "hub.lock")
        self._ended: Memory[str] = Memory()
        """Ended requests: 1 where the voice had its last word, 0 where it was closed before."""
        self._strikes: Memory[bytes] = Memory()
        self._tasks: list[asyncio.Task[None]] = []
        self._bound = False

    # -- life

    async def start(self) -> None:
        """Lock the run directory, bind, and begin to listen.

        Raises AlreadyRunning where another hub holds it, BadSetting for an endpoint that is not ipc.
        """
        if not self.endpoint.startswith("ipc://"):
            raise BadSetting(
                f"The bus cannot be bound to {self.endpoint}: it has no keys yet, and anybody could join.",
                "Use an ipc:// path in a directory of your own.",
            )
        self._lock.acquire("the bus")  # a second bind on one ipc path succeeds, and steals new peers
        self._loop = asyncio.get_running_loop()
        self._context = zmq.asyncio.Context()
        self._socket = self._context.socket(zmq.ROUTER)
        for option, value in (
            (zmq.ROUTER_MANDATORY, 1),
            (zmq.MAXMSGSIZE, wire.MAX_BYTES),
            (zmq.SNDHWM, 200),
            (zmq.LINGER, 100),
        ):
            self._socket.setsockopt(option, value)
        self._bound = True
        try:
            self._socket.bind(self.endpoint)
        except zmq.ZMQError as error:
            await self.stop()
            raise BadSetting(f"The bus cannot be bound to {self.endpoint}: {error.strerror}.") from error
        self._tasks = [self._loop.create_task(self._pump()), self._loop.create_task(self._presence.beat())]

    async def stop(self) -> None:
        """Say bye, answer every open ask with `gone`, close, unlock. Idempotent."""
        if not self._bound:
            return
        self._bound = False
        for lease in self._presence:
            self.send(lease.identity, wire.Bye(reason="the hub stops"))
            self._presence.leave(lease, "the hub stopped")
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        self._socket.close()
        self._context.term()
        self._lock.release()

    @property
    def voices(self) -> dict[str, VoiceState]:
        """Every voice that was here, present or gone."""
        here = {lease.name: lease.snapshot() for lease in self._presence}
        return self._presence.gone | here

    # -- asking

    async def ask(
        self,
        voice: str,
        *,
        request: str,
        thread: str,
        mode: str,
        context: Sequence[wire.Turn],
        budget_ms: int,
        model: str = "",
        fork_seed: wire.ForkSeed | None = None,
        greedy: bool = False,
        max_tokens: int | None = None,
        seed: int = 0,
        priority: int = 0,
        on_partial: OnPartial | None = None,
    ) -> Answer:
        """Ask one voice; returns its final, or a Declined made here for it.

        Codes made here: gone, stalled, budget, busy (no credit within the budget, or it does not read),
        cancelled, too_large. Nothing a voice does raises. Cancelling the awaiting task cancels the ask.
        """
        if (lease := self._presence.leases.get(voice)) is None:
            return self._declined(request, "gone", f"{voice} is not here", retryable=True)
        if lease.silent_since is not None:
            return self._declined(request, "stalled", f"{voice} does not answer", retryable=True)
        if self._find(request) is not None:
            raise ValueError(f"the request {request} is under way")
        ask = wire.Ask(
            epoch=self.epoch,
            request=request,
            thread=thread,
            mode=mode,
            context=tuple(context),
            model=model,
            fork_seed=fork_seed,
            greedy=greedy,
            budget_ms=budget_ms,
            max_tokens=max_tokens,
            seed=seed,
            priority=priority,
        )
        deadline = self._loop.time() + budget_ms / 1000
        asked = Request(ask, deadline, self._loop.create_future(), on_partial)
        asked.timers.append(self._loop.call_at(asked.deadline + ANSWER_S, self._expire, lease, asked))
        lease.wait(asked)
        self._dispatch(lease)
        try:
            return await asked.answer
        except asyncio.CancelledError:
            self._close(lease, asked, "cancelled", "the asker left")
            raise

    def cancel(self, request: str) -> None:
        """Take an ask back: its `ask` returns Declined(cancelled). Idempotent."""
        if (found := self._find(request)) is not None:
            self._close(*found, "cancelled", "cancelled")

    def _find(self, request_id: str) -> tuple[Lease, Request] | None:
        for lease in self._presence:
            if (request := lease.find(request_id)) is not None:
                return lease, request
        return None

    def _dispatch(self, lease: Lease) -> None:
        """Send waiting asks as far as there are credits."""
        while (request := lease.next_waiting()) is not None:
            left_ms = int((request.deadline - self._loop.time()) * 1000)
            if left_ms <= 0:
                self._end(request, self._declined(request.id, "busy", "no free slot", retryable=True))
                continue
            try:
                sent = self.send(lease.identity, request.ask.model_copy(update={"budget_ms": left_ms}))
            except wire.WireError as error:
                self._end(request, self._declined(request.id, "too_large", str(error)))
                continue
            if sent == "sent":
                request.progress(0, "", self._loop.time())
                lease.requests[request.id] = request
            elif sent == "full":
                message = f"{lease.name} does not read"
                self._end(request, self._declined(request.id, "busy", message, retryable=True))
            else:
                lease.wait(request)  # goes with the others
                self._presence.hang_up(lease)
                break
        self._presence.tell(lease)

    def _expire(self, lease: Lease, request: Request) -> None:
        if request.id in lease.requests:
            self._close(lease, request, "budget", "no answer within the budget", retryable=True)
        else:
            self._end(request, self._declined(request.id, "busy", "no free slot", retryable=True))

    def _close(
        self, lease: Lease, request: Request, code: str, message: str, *, retryable: bool = False
    ) -> None:
        """Answer for the voice and tell it to stop. It keeps the credit until it confirms, or GRACE_S."""
        self._end(request, self._declined(request.id, code, message, retryable=retryable))
        if lease.requests.get(request.id) is request:
            self.send(lease.identity, wire.Cancel(epoch=self.epoch, request=request.id))
            request.timers.append(self._loop.call_later(GRACE_S, self._release, lease, request))
        self._presence.tell(lease)

    def _release(self, lease: Lease, request: Request) -> None:
        if lease.requests.pop(request.id, None) is not None:
            self.counters["no_final"] += 1
            self._dispatch(lease)

    def _end(self, request: Request, answer: Answer, *, by_voice: bool = False) -> None:
        request.drop_timers()
        request.reply(answer)
        self._ended[request.id] = by_voice

    def _declined(self, request: str, code: str, message: str, *, retryable: bool = False) -> wire.Declined:
        return wire.Declined(
            epoch=self.epoch, request=request, seq=0, code=code, message=message, retryable=retryable
        )

    # -- the socket

    def send(self, identity: bytes, message: wire.Message) -> Sent:
        """Never waits, never buffers beyond the socket. Raises WireError for what cannot be a message."""
        frames = [identity, *wire.encode(message)]
        sent = asyncio.ensure_future(self._socket.send_multipart(frames, flags=zmq.NOBLOCK))
        error = sent.exception()  # with NOBLOCK it is done already
        if isinstance(error, zmq.Again):
            self.counters["not_taken"] += 1
            return "full"
        return "sent" if error is None else "unreachable"

    async def _pump(self) -> None:
        """Reads until the hub stops. Whatever a peer sends, it goes on."""
        while True:
            identity, *frames = await self._socket.recv_multipart()
            try:
                self._on_frames(identity, frames)
            except Exception:  # a fault of ours: one frame is lost, the bus is not
                self.counters["error"] += 1
                log.exception("a frame of %d parts could not be handled", len(frames))

    def _on_frames(self, identity: bytes, frames: list[bytes]) -> None:
        if self._strikes.get(identity, 0) >= STRIKES:
            self.counters["deaf"] += 1
            return
        lease = self._presence.at(identity)
        try:
            message = wire.decode(frames)
        except wire.UnknownMessage:
            self.counters["unknown_type"] += 1
            return
        except wire.WireError as error:
            self._strike(identity, str(error))
            return
        if isinstance(message, wire.Hello):
            self.counters["refused"] += not self._presence.hello(identity, message)
            return
        stale = getattr(message, "epoch", self.epoch) != self.epoch
        if stale:
            self.counters["old_epoch"] += 1
        if lease is None:
            if isinstance(message, wire.Partial | wire.Proposal | wire.Declined | wire.Pong | wire.Ping):
                self.send(identity, wire.Who(reason="say hello first"))
            return
        self._presence.life(lease)
        if not stale:
            self._on_message(lease, message)

    def _on_message(self, lease: Lease, message: wire.Message) -> None:
        match message:
            case wire.Partial():
                self._on_partial(lease, message)
            case wire.Proposal() | wire.Declined():
                self._on_final(lease, message)
            case wire.Pong():
                for busy in message.busy:
                    if (request := lease.requests.get(busy.request)) is not None:
                        request.progress(busy.steps, busy.phase, self._loop.time())
            case wire.Bye():
                self._presence.leave(lease, f"said bye: {message.reason}"[:200])
            case wire.Ping():
                self.send(lease.identity, wire.Pong(n=message.n))
            case _:
                self._strike(lease.identity, f"a {message.type} is nothing a voice says")

    def _strike(self, identity: bytes, why: str) -> None:
        self.counters["poison"] += 1
        self._strikes[identity] = strikes = self._strikes.get(identity, 0) + 1
        log.debug("strike %d: %s", strikes, why)
        if strikes == STRIKES:
            self.send(identity, wire.Refused(reason="poison", hint=why[:200]))
            if (lease := self._presence.at(identity)) is not None:
                self._presence.leave(lease, "sent frames that are no messages")

    # -- answers

    def _on_partial(self, lease: Lease, partial: wire.Partial) -> None:
        request = lease.requests.get(partial.request)
        if request is None or request.answer.done():
            self.counters["late"] += 1
        elif partial.seq <= request.seq:
            self.counters["out_of_order"] += 1
        else:
            self.counters["gap"] += partial.seq > request.seq + 1
            request.seq = partial.seq
            request.progress(partial.steps, "speaking", self._loop.time())
            if request.on_partial is not None:
                self._call(request.on_partial, partial)

    def _on_final(self, lease: Lease, final: Answer) -> None:
        request = lease.requests.pop(final.request, None)
        if request is not None and not request.answer.done():
            self._end(request, final, by_voice=True)
        elif (by_voice := self._ended.get(final.request)) is None:
            self.counters["unknown_request"] += 1
        elif by_voice:
            self.counters["duplicate"] += 1
        else:
            if request is not None:
                request.drop_timers()
            self._ended[final.request] = True
            if isinstance(final, wire.Proposal):
                self.counters["late"] += 1
                self._call(self._on_late, final)
        self._dispatch(lease)

    def _call(self, callback: Callable[..., None], *values: object) -> None:
        """A callback that raises is a fault of its own; the bus goes on."""
        try:
            callback(*values)
        except Exception:
            self.counters["error"] += 1
            log.exception("a callback of the bus raised")

    # -- what presence reports

    def on_state(self, name: str, state: str, detail: str) -> None:
        log.info("%s is %s %s", name, state, detail)
        self._call(self._on_voice, name, state, detail)

    def on_lost(self, lease: Lease, message: str) -> None:
        for request in lease.take_all():
            self._end(request, self._declined(request.id, "gone", message, retryable=True))

    def on_silent(self, lease: Lease) -> None:
        for request in [*lease.requests.values(), *lease.waiting]:
            self._close(lease, request, "stalled", f"{lease.name} fell silent", retryable=True)

    def on_beat(self, lease: Lease) -> None:
        """A voice that says it speaks and brings no new word for too long is stuck: prefill is not."""
        for request in list(lease.requests.values()):
            stuck = request.phase == "speaking" and self._loop.time() - request.moved > self._stall_s
            if stuck and not request.answer.done():
                self._close(lease, request, "stalled", "no new word for too long", retryable=True)
