"""Talks to an engine process: one DEALER socket, plain blocking calls.

Owns the client side of EN/1. Knows nothing of llama.cpp. Not thread-safe: one client a thread.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Generator

import zmq

from voices.engine import protocol as en

Stopper = Callable[[], bool]


class EngineError(Exception):
    """The engine refused or failed a request. `code` is EN/1's, `retryable` says whether to ask again."""

    def __init__(self, code: str, message: str, *, retryable: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.retryable = retryable


class EngineLost(EngineError):
    """No answer from the engine within the time allowed (it hangs), or its end closed (`seconds` 0: it died)."""

    def __init__(self, endpoint: str, seconds: float) -> None:
        what = f"did not answer for {seconds:.1f} s" if seconds else "closed the connection"
        super().__init__("engine_lost", f"the engine at {endpoint} {what}", retryable=True)


class Cancelled(EngineError):
    """The caller's `stopped` turned true; the engine was told to drop the sequence."""

    def __init__(self) -> None:
        super().__init__("cancelled", "the generation was cancelled")


class EngineClient:
    """A connection to the engine at `endpoint` (ipc:// or tcp://).

    `patience` is the time in seconds without any sign of life after which EngineLost is raised. The engine
    answers each request at once with a `queued` progress message and then at least after every decode
    (≤ 0.3 s for a full prefill batch), so a few seconds are ample.
    """

    def __init__(self, endpoint: str, *, patience: float = 10.0) -> None:
        self.endpoint = endpoint
        self.patience = patience
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context.instance()
        self._socket = self._connect()

    def _connect(self) -> zmq.Socket[bytes]:
        socket = self._context.socket(zmq.DEALER)
        socket.setsockopt(zmq.LINGER, 0)
        # A restarted engine binds the same path again: retry at once, not after libzmq's growing pauses.
        socket.setsockopt(zmq.RECONNECT_IVL, 20)
        socket.setsockopt(zmq.RECONNECT_IVL_MAX, 200)
        socket.setsockopt(zmq.MAXMSGSIZE, en.MAX_BYTES)
        # An engine that dies is noticed at once; silence alone would take `patience`.
        self._hangups = socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        socket.connect(self.endpoint)
        return socket

    def _hung_up(self) -> bool:
        """Whether the engine's end of the connection closed since the last call."""
        closed = False
        while self._hangups.poll(0):
            self._hangups.recv_multipart()
            closed = True
        return closed

    def close(self) -> None:
        """Close the socket. What is under way in the engine is cancelled when it notices."""
        self._socket.disable_monitor()
        self._hangups.close()
        self._socket.close()

    def __enter__(self) -> EngineClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def send(self, message: en.ToEngine) -> None:
        """Send one request; returns at once."""
        self._socket.send_multipart(en.encode(message))

    def receive(self, timeout: float) -> en.FromEngine | None:
        """The next answer to any request of this client, or None after `timeout` seconds."""
        if not self._socket.poll(int(timeout * 1000)):
            return None
        return en.decode_answer(self._socket.recv_multipart())

    def stream(
        self, request: en.Generate, stopped: Stopper = lambda: False
    ) -> Generator[en.Tokens | en.Done, None, None]:
        """Progress messages, then one Done.

        Raises Cancelled when `stopped()` turns true (asked every 50 ms), EngineLost when the engine falls
        silent, EngineError for its refusals. Leaving the generator early cancels the generation.
        """
        self._hung_up()  # what happened between two requests is no news
        self.send(request)
        heard = time.monotonic()
        finished = False
        try:
            while True:
                answer = self.receive(0.05)
                if stopped():
                    raise Cancelled
                if answer is None:
                    if self._hung_up():
                        raise EngineLost(self.endpoint, 0.0)
                    if time.monotonic() - heard > self.patience:
                        raise EngineLost(self.endpoint, self.patience)
                    continue
                heard = time.monotonic()
                if answer.request != request.request:
                    continue  # the tail of a request cancelled earlier
                if isinstance(answer, en.Tokens):
                    yield answer
                elif isinstance(answer, en.Done):
                    finished = True
                    yield answer
                    return
                elif isinstance(answer, en.Failed):
                    finished = True
                    raise EngineError(answer.code, answer.message, retryable=answer.retryable)
        finally:
            if not finished:
                self.send(en.CancelGeneration(request=request.request))

    def _one(self, request: en.ToEngine) -> en.FromEngine:
        self.send(request)
        deadline = time.monotonic() + self.patience
        while (left := deadline - time.monotonic()) > 0:
            answer = self.receive(left)
            if answer is None or answer.request != request.request:
                continue
            if isinstance(answer, en.Failed):
                raise EngineError(answer.code, answer.message, retryable=answer.retryable)
            return answer
        raise EngineLost(self.endpoint, self.patience)

    def info(self) -> en.Info:
        """What the engine is: model digest, vocabulary size, context length, threads."""
        answer = self._one(en.AskInfo(request=uuid.uuid4().hex))
        assert isinstance(answer, en.Info)
        return answer

    def tokenize(self, text: str) -> tuple[int, ...]:
        """Token ids of `text` as data: special tokens in it are not parsed."""
        answer = self._one(en.Tokenize(request=uuid.uuid4().hex, text=text))
        assert isinstance(answer, en.Ids)
        return answer.ids
