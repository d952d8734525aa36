"""The process of a voice: its one conversation with the hub, a thread for each thought.

Owns the lease (hello, welcome, ping, who, bye), the budget of every ask, and that each ask ends in exactly
one final message. The main thread alone touches the hub's socket; thinking threads hand over through a queue
and a wake-up byte. Knows nothing of what a voice thinks (voices.voice) and nothing of the store.

    python -m voices.worker NAME [--prompts DIR ...]        with INNER_HUB and INNER_ENGINE set
"""

from __future__ import annotations

import argparse
import ctypes
import logging
import os
import queue
import signal
import socket
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import zmq

from voices import wire
from voices.promptfile import PromptFileError
from voices.role import ModeSpec, UnknownVoice, build_prompt, load_modes
from voices.voice import Asked, Decline, Thinking, Voice

log = logging.getLogger("voices.worker")

PARTIAL_S = 0.05
"""Least time between two partials of one request: 20 a second is more than a page can show."""
HELLO_S = 0.5
"""Pause between two hellos while nobody has answered."""
MISSED_PINGS = 8
"""Pings missing in a row after which the lease is over: 2 s at the hub's 250 ms."""
OVERSLEPT_S = 1.0
"""A loop that wakes later than this was stopped itself: the hub gets the time to be heard again."""
EXIT_OK, EXIT_USAGE, EXIT_REFUSED = 0, 2, 3


class Job:
    """One ask as the main thread sees it. `deadline` is on the worker's monotonic clock."""

    def __init__(self, thinking: Thinking, deadline: float) -> None:
        self.thinking = thinking
        self.deadline = deadline
        self.seq = 0
        self.sent = ""
        self.next_partial = 0.0


class Worker:
    """Serves `hub` with `voice` until it is told to leave, refused, or orphaned.

    `parent` is the process to live with: when it is no longer the parent, the worker ends. Without it the
    worker ends when its parent has changed *and* the hub is silent.
    """

    def __init__(
        self,
        voice: Voice,
        hub: str,
        *,
        parent: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.voice = voice
        self.hub = hub
        self.session = uuid.uuid4().hex
        self.epoch: str | None = None
        self.jobs: dict[str, Job] = {}
        self._parent = parent
        self._born_under = os.getppid()
        self._clock = clock
        self._heard = clock()
        self._next_hello = 0.0
        self._ping_s = 0.25
        self._max_bytes = wire.MAX_BYTES
        self._exit: int | None = None
        self._results: queue.SimpleQueue[tuple[Job, wire.Proposal | wire.Declined]] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._woken = threading.Event()
        self._wake_in, self._wake_out = socket.socketpair()
        self._wake_in.setblocking(False)
        self._wake_out.setblocking(False)
        self._socket = self._connect()

    def _connect(self) -> zmq.Socket[bytes]:
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context.instance()
        dealer = context.socket(zmq.DEALER)
        dealer.setsockopt(zmq.LINGER, 200)
        # Nothing is kept for a hub that is not there: a restarted one must not hear the last one's mail.
        dealer.setsockopt(zmq.IMMEDIATE, 1)
        dealer.setsockopt(zmq.RECONNECT_IVL, 50)
        dealer.setsockopt(zmq.RECONNECT_IVL_MAX, 500)
        dealer.setsockopt(zmq.MAXMSGSIZE, wire.MAX_BYTES)
        dealer.connect(self.hub)
        return dealer

    # -- the loop

    def run(self) -> int:
        """The exit code: 0 told to leave or orphaned, 3 refused by the hub."""
        poller = zmq.Poller()
        poller.register(self._socket, zmq.POLLIN)
        poller.register(self._wake_out.fileno(), zmq.POLLIN)
        try:
            while self._exit is None:
                self._sleep(poller)
                self._read_wakes()
                self._read_hub()
                self._read_results()
                self._tick(self._clock())
            return self._exit
        finally:
            self._leave()

    def _sleep(self, poller: zmq.Poller) -> None:
        timeout_ms, began = self._timeout_ms(), self._clock()
        poller.poll(timeout_ms)
        overslept = self._clock() - began - timeout_ms / 1000
        if overslept > OVERSLEPT_S:
            self._heard += overslept

    def leave(self, reason: str) -> None:
        """Say bye and end the loop. Safe in a signal handler."""
        log.info("%s leaves: %s", self.voice.name, reason)
        if self._exit is None:
            self._exit = EXIT_OK
        self.wake()

    def wake(self) -> None:
        """Let the main thread look around. Safe in any thread."""
        if not self._woken.is_set():
            self._woken.set()
            self._wake_in.send(b"\0")

    def wake_fd(self) -> int:
        """A descriptor that `signal.set_wakeup_fd` can write to."""
        return self._wake_in.fileno()

    def _leave(self) -> None:
        self._send(wire.Bye(reason="the voice leaves"))
        self._drop_jobs()
        until = time.monotonic() + 0.2  # enough for each thought to tell the engine to stop
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
        self.voice.close()
        self._socket.close()
        if not any(thread.is_alive() for thread in self._threads):
            self._wake_in.close()
            self._wake_out.close()

    def _timeout_ms(self) -> int:
        """Until the next thing that is due by itself, at most a second."""
        now = self._clock()
        due = [now + 1.0, self._heard + self._silence_s()]
        if self.epoch is None:
            due.append(self._next_hello)
        for job in self.jobs.values():
            due.append(job.deadline)
            if job.thinking.text != job.sent:
                due.append(job.next_partial)
        return max(0, min(1000, int((min(due) - now) * 1000) + 1))

    def _silence_s(self) -> float:
        return MISSED_PINGS * self._ping_s

    def _read_wakes(self) -> None:
        try:
            while self._wake_out.recv(4096):
                pass
        except BlockingIOError:
            self._woken.clear()  # before the results are read: a later one wakes again

    def _read_hub(self) -> None:
        for _ in range(100):  # then let the thoughts have their turn
            try:
                frames = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            try:
                self._on_message(wire.decode(frames))
            except wire.WireError as error:
                log.warning("from the hub: %s", error)

    def _read_results(self) -> None:
        while True:
            try:
                job, final = self._results.get_nowait()
            except queue.Empty:
                return
            if self.jobs.get(job.thinking.ask.request) is job:
                self._finish(job, final)

    def _tick(self, now: float) -> None:
        for job in list(self.jobs.values()):
            if now >= job.deadline:
                self._give_up(job, "budget", f"{job.thinking.ask.budget_ms} ms were over", retryable=False)
            elif job.thinking.text != job.sent and now >= job.next_partial:
                self._send_partial(job, now)
        orphaned = self._orphaned()
        if self._parent is not None and orphaned:
            self.leave("the parent process is gone")
        elif now - self._heard >= self._silence_s():
            if orphaned:
                self.leave("the hub is silent and the parent process is gone")
            self._end_lease("the hub is silent")
            self._heard = now
        if self.epoch is None and now >= self._next_hello:
            self._next_hello = now + (HELLO_S if self._send(self._hello()) else PARTIAL_S)

    def _orphaned(self) -> bool:
        return os.getppid() != (self._born_under if self._parent is None else self._parent)

    # -- messages

    def _on_message(self, message: wire.Message) -> None:
        self._heard = self._clock()
        match message:
            case wire.Ask():
                self._on_ask(message)
            case wire.Cancel(request=request, epoch=self.epoch) if request in self.jobs:
                self._give_up(self.jobs[request], "cancelled", "cancelled by the hub", retryable=False)
            case wire.Ping(n=n):
                self._send(wire.Pong(n=n, busy=tuple(self._progress())))
            case wire.Welcome():
                self.epoch = message.epoch
                self._ping_s = max(0.01, message.ping_ms / 1000)
                self._max_bytes = message.max_bytes
                log.info("%s is welcome at %s", self.voice.name, self.hub)
            case wire.Who():
                self._end_lease(f"the hub asks who we are: {message.reason}")
                self._next_hello = 0.0
            case wire.Bye():
                self._end_lease(f"the hub leaves: {message.reason}")
                self._next_hello = self._heard + HELLO_S
            case wire.Refused():
                log.error("%s was refused: %s. %s", self.voice.name, message.reason, message.hint)
                self._exit = EXIT_REFUSED
            case _:
                log.debug("a %s is nothing a hub says here", message.type)

    def _hello(self) -> wire.Hello:
        capabilities: dict[str, str | int | bool | tuple[str, ...]] = {"modes": self.voice.modes}
        return wire.Hello(
            voice=self.voice.name,
            session=self.session,
            slots=self.voice.slots,
            pid=os.getpid(),
            capabilities=capabilities,
        )

    def _progress(self) -> Iterator[wire.Busy]:
        for request, job in self.jobs.items():
            yield wire.Busy(request=request, steps=job.thinking.steps, phase=job.thinking.phase)

    def _on_ask(self, ask: wire.Ask) -> None:
        if ask.epoch != self.epoch or ask.request in self.jobs:
            log.warning("an ask of another epoch, or asked twice: %s", ask.request)
            return
        job = Job(Thinking(ask, self.wake), self._clock() + ask.budget_ms / 1000)
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        # A thought that does not heed its stop keeps its thread: more than as many again are not started.
        busy = len(self.jobs) >= self.voice.slots or len(self._threads) >= 2 * self.voice.slots
        self.jobs[ask.request] = job
        if self.voice.modes and ask.mode not in self.voice.modes:
            message = f"{self.voice.name} has no prompt for {ask.mode}"
            self._give_up(job, "unknown_mode", message, retryable=False)
        elif busy:
            self._give_up(job, "busy", f"all {self.voice.slots} slots are taken", retryable=True)
        else:
            thread = threading.Thread(target=self._think, args=(job,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _think(self, job: Job) -> None:
        self._results.put((job, self.voice.speak(job.thinking)))
        if self._exit is None:
            self.wake()

    def _send_partial(self, job: Job, now: float) -> None:
        thinking = job.thinking
        job.sent, job.next_partial = thinking.text, now + PARTIAL_S
        job.seq += 1
        self._send(
            wire.Partial(
                epoch=thinking.ask.epoch,
                request=thinking.ask.request,
                seq=job.seq,
                text=job.sent,
                steps=thinking.steps,
            )
        )

    def _give_up(self, job: Job, code: str, message: str, *, retryable: bool) -> None:
        """The final of a thought nobody waits for: its thread ends when it notices, and is not heard."""
        job.thinking.stop.set()
        ask = job.thinking.ask
        self._finish(
            job,
            wire.Declined(
                epoch=ask.epoch, request=ask.request, seq=0, code=code, message=message, retryable=retryable
            ),
        )

    def _finish(self, job: Job, final: wire.Proposal | wire.Declined) -> None:
        request = self.jobs.pop(final.request).thinking.ask.request
        final = final.model_copy(update={"seq": job.seq + 1})
        try:
            frames = wire.encode(final)
            if len(frames[1]) > self._max_bytes:
                raise wire.WireError(f"{len(frames[1])} bytes are over the hub's limit of {self._max_bytes}")
        except wire.WireError as error:
            final = wire.Declined(
                epoch=final.epoch, request=request, seq=job.seq + 1, code="too_large", message=str(error)
            )
        self._send(final)

    def _send(self, message: wire.Message) -> bool:
        """False where the hub is not connected, or does not read: what it has not got is lost to it."""
        try:
            self._socket.send_multipart(wire.encode(message), zmq.NOBLOCK)
        except zmq.Again:
            log.debug("the hub did not take a %s", message.type)
            return False
        return True

    def _end_lease(self, reason: str) -> None:
        if self.epoch is not None:
            log.info("%s: %s", self.voice.name, reason)
        self.epoch = None
        self._drop_jobs()

    def _drop_jobs(self) -> None:
        for job in self.jobs.values():
            job.thinking.stop.set()
        self.jobs.clear()


class RoleVoice(Voice):
    """A prompt file as a voice, in every mode that has one of its name."""

    def __init__(self, name: str, modes: dict[str, ModeSpec]) -> None:
        super().__init__()
        self.name = name
        self.specs = {
            mode: spec for mode, spec in modes.items() if name in (role.name for role in spec.voices)
        }
        self.modes = tuple(self.specs)
        if not self.modes:
            known = sorted({role.name for spec in modes.values() for role in spec.voices})
            raise UnknownVoice(name, "any mode", known)

    def think(self, ask: Asked) -> Iterator[str]:
        if ask.mode not in self.specs:
            raise Decline(f"{self.name} has no prompt for {ask.mode}", code="unknown_mode")
        mode = self.specs[ask.mode]
        role = mode.voice(self.name)
        yield from self.engine.stream(
            build_prompt(mode, self.name, ask.context, self.engine.model),
            seed=ask.seed,
            temperature=role.temperature,
            repeat_penalty=role.repeat_penalty,
            max_tokens=ask.max_tokens or role.max_tokens,
            stop=mode.stop,
            sentence=mode.unit == "sentence",
        )


def serve(voice: Voice) -> int:
    """Run `voice` as this process, from its environment: INNER_HUB, INNER_ENGINE, INNER_PARENT. Exit code."""
    logging.basicConfig(format="%(asctime)s %(name)s %(levelname)s %(message)s", level=logging.INFO)
    hub = os.environ.get("INNER_HUB", "")
    if not hub:
        log.error("INNER_HUB is not set: start this voice with `inner voice run FILE`")
        return EXIT_USAGE
    if not voice.name:
        log.error("%s has no name", type(voice).__name__)
        return EXIT_USAGE
    parent = int(os.environ.get("INNER_PARENT", "0")) or None
    if parent is not None:
        die_with_parent()
    worker = Worker(voice, hub, parent=parent)
    signal.set_wakeup_fd(worker.wake_fd(), warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda got, _: worker.leave(signal.Signals(got).name))
    return worker.run()


def die_with_parent() -> None:
    """On Linux, have the kernel end this process with its parent, even where Python hangs.

    A parent that died before this call is seen by the worker, which compares the parent's id in its loop.
    """
    if sys.platform == "linux":
        set_parent_death_signal = 1  # PR_SET_PDEATHSIG, prctl(2)
        ctypes.CDLL(None, use_errno=True).prctl(set_parent_death_signal, signal.SIGKILL, 0, 0, 0)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m voices.worker", description="Run one voice.")
    parser.add_argument("name", help="the name of the voice, as in its prompt file")
    parser.add_argument("--prompts", nargs="*", type=Path, default=[], help="further folders of MODE/*.md")
    options = parser.parse_args(argv)
    try:
        voice = RoleVoice(options.name, load_modes(options.prompts))
    except (PromptFileError, UnknownVoice) as error:
        print(error, file=sys.stderr)
        return EXIT_USAGE
    return serve(voice)


if __name__ == "__main__":
    sys.exit(main())
