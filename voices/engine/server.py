"""The engine process: one ROUTER socket, one scheduler, one loop.

Owns the socket, the order of receive → decode → send, and the self-measurement of the thread count. Knows
nothing of roles or forks. Everything happens in one thread: between two decodes all messages are read, so a
cancel or a more urgent request waits for one decode at most.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import llama_cpp
import zmq

from voices.engine import protocol as en
from voices.engine.llama import Llama
from voices.engine.scheduler import Scheduler
from voices.engine.sequence import Sequence
from voices.engine.template import Template
from voices.wire import WireError

PROGRESS_SECONDS = 0.1
"""Least time between two progress messages of one sequence."""
GATHER_MS = 6
"""After silence, wait this long for the requests that come with the first: four voices are asked together, and one that
joins a decode late costs all of them another one (about 35 ms)."""
SLOTS = 32
KNOWN_TEXTS = 4096
"""Texts whose tokens are remembered."""


def measure_threads(llama: Llama, choices: list[int]) -> dict[int, float]:
    """Milliseconds of one decode of four sequences for each thread count, the best of five.

    On shared or hyper-threaded machines cpu_count() is often the wrong answer (ENGINE.md, fact 1).
    """
    token = llama.tokenize("The thought goes on")[0]
    times: dict[int, float] = {}
    for threads in choices:
        llama.set_threads(threads)
        best = float("inf")
        for repeat in range(6):  # the first one warms up and is not counted
            began = time.perf_counter()
            llama.decode([token] * 4, [repeat] * 4, list(range(4)), [True] * 4)
            llama.logits(3)
            if repeat:
                best = min(best, time.perf_counter() - began)
        for sequence in range(4):
            llama.cut(sequence, 0)
        times[threads] = best * 1000
    return times


def thread_choices() -> list[int]:
    """1, 2, 4 … up to the CPUs this process may use, that number included, at most 16."""
    cpus = min(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1, 16)
    return sorted({*(2**k for k in range(5) if 2**k <= cpus), cpus})


class Server:
    """Serves EN/1 on `endpoint` until `run` returns. threads None: measured."""

    def __init__(self, path: Path, endpoint: str, *, threads: int | None, cells: int) -> None:
        self.llama = Llama(path, cells=cells, n_seq=SLOTS, threads=threads or 1)
        self.timings = measure_threads(self.llama, [threads] if threads else thread_choices())
        self.threads = min(self.timings, key=lambda n: self.timings[n])
        self.llama.set_threads(self.threads)
        self.window = min(self.llama.n_train, cells // 2)
        self.scheduler = Scheduler(self.llama, window=self.window)
        self.template = Template(
            self.llama.template,
            self._tokens_of,
            bos=self.llama.bos,
            bos_text=self.llama.bos_text,
            eos_text=self.llama.eos_text,
        )
        self._known: dict[tuple[str, bool], list[int]] = {}
        self._socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.ROUTER)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
        self._socket.setsockopt(zmq.MAXMSGSIZE, en.MAX_BYTES)
        self._socket.bind(endpoint)
        self.refused = 0
        """Frames that were no EN/1 requests."""

    def _tokens_of(self, text: str, special: bool) -> list[int]:
        """Token ids of a part; preambles and thoughts come again with every request of their thread."""
        found = self._known.get((text, special))
        if found is None:
            if len(self._known) >= KNOWN_TEXTS:
                self._known.clear()
            found = self._known[text, special] = self.llama.tokenize(text, special=special)
        return found

    def run(self, stopped: Callable[[], bool]) -> None:
        """Serve until `stopped()`; asked at least every 200 ms and after every decode."""
        while not stopped():
            self._receive()
            if self.scheduler.idle:
                continue
            ended, failed = self.scheduler.step()
            for sequence in ended:
                self._send(sequence.client, sequence.done(self.llama.digest))
            for sequence, answer in failed:
                self._send(sequence.client, answer)
            self._progress()

    def close(self) -> None:
        """Close the socket and free the model."""
        self._socket.close()
        self.llama.close()

    def _receive(self) -> None:
        idle = self.scheduler.idle
        wait = 200 if idle else 0
        while self._socket.poll(wait):
            client, *frames = self._socket.recv_multipart()
            try:
                request = en.decode_request(frames)
            except WireError:
                self.refused += 1
            else:
                self._handle(client, request)
            wait = GATHER_MS if idle else 0

    def _handle(self, client: bytes, request: en.ToEngine) -> None:
        if isinstance(request, en.Generate):
            self._send(client, self._generate(client, request))
        elif isinstance(request, en.CancelGeneration):
            self.scheduler.cancel(client, request.request)
        elif isinstance(request, en.Tokenize):
            self._send(client, en.Ids(request=request.request, ids=tuple(self.llama.tokenize(request.text))))
        else:
            self._send(client, self.info(request.request))

    def _generate(self, client: bytes, request: en.Generate) -> en.FromEngine:
        if not request.prompt.messages:
            return en.Failed(
                request=request.request, code="bad_request", message="the prompt has no messages"
            )
        prompt = self.template.ids(request.prompt, self.llama.digest)
        own = request.prompt.model == self.llama.digest
        forced = list(request.forced_ids) if own else []
        if not forced and request.forced_text:
            forced = self.llama.tokenize(request.forced_text)
        if any(not 0 <= t < self.llama.n_vocab for t in (*prompt, *forced, *request.bans)):
            return en.Failed(
                request=request.request, code="bad_request", message="a token id is not of this model"
            )
        refused = self.scheduler.submit(client, request, prompt, forced)
        return refused or en.Tokens(request=request.request, text="", steps=0, phase="queued")

    def info(self, request: str) -> en.Info:
        """This engine, as clients see it."""
        return en.Info(
            request=request,
            model=self.llama.digest,
            name=self.llama.name,
            path=str(self.llama.path),
            n_params=self.llama.n_params,
            n_vocab=self.llama.n_vocab,
            n_ctx=self.window,
            n_cells=self.llama.cells,
            template=self.template.chat,
            exact=True,
            threads=self.threads,
            thread_timings={str(n): round(ms, 2) for n, ms in self.timings.items()},
            library=f"llama-cpp-python {llama_cpp.__version__}",
        )

    def _progress(self) -> None:
        now = time.monotonic()
        for sequence in list(self.scheduler.active()):
            if now - sequence.sent_at >= PROGRESS_SECONDS:
                sequence.sent_at = now
                self._send(sequence.client, _tokens(sequence))

    def _send(self, client: bytes, answer: en.FromEngine) -> None:
        """Send, or drop what a vanished client asked for."""
        try:
            self._socket.send_multipart([client, *en.encode(answer)], zmq.DONTWAIT)
        except zmq.ZMQError as error:
            if error.errno not in (zmq.EHOSTUNREACH, zmq.EAGAIN):
                raise
            for sequence in list(self.scheduler.active()):
                if sequence.client == client:
                    self.scheduler.cancel(client, sequence.request.request)


def _tokens(sequence: Sequence) -> en.Tokens:
    return en.Tokens(
        request=sequence.request.request, text=sequence.text, steps=sequence.sampled, phase=sequence.phase
    )
