"""`Voice`, what a user subclasses: think aloud about one ask, in plain Python.

Owns how a thought becomes exactly one proposal or one declined. Knows the engine's client; knows nothing of
the hub's socket (voices.worker), of prompt files (voices.role), or of what becomes of a proposal.

    from voices import Voice

    class Skeptic(Voice):
        name = "Skeptic"

        def think(self, ask):
            yield from self.engine.stream(ask.prompt + "[Skeptic] ", seed=ask.seed)

    Skeptic().main()
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import uuid
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Literal

from voices import wire
from voices.engine import protocol as en
from voices.engine.client import Cancelled, EngineClient, EngineError, EngineLost
from voices.role import transcript

log = logging.getLogger(__name__)

Phase = Literal["queued", "prefill", "speaking"]
TEXT_LIMIT = 100_000
"""Characters of one thought. Five times the longest opening: a voice that says more has run away."""
ENGINE_ERRORS = ("engine_lost", "cancelled")
"""Codes of EngineError that ID/1 knows by themselves; every other one is told as `engine_error`."""


class Decline(Exception):
    """Raised by `think` to say no, with an ID/1 code. Any other exception declines as `voice_error`."""

    def __init__(self, message: str, *, code: str = "voice_error", retryable: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.retryable = retryable


class Asked(wire.Ask):
    """What a voice is asked, as `think` sees it: the message, and the thread as text."""

    @property
    def prompt(self) -> str:
        """The thread as a plain transcript, `[Author] text` a line: put your own tag after it."""
        return transcript(self.context)


class Thinking:
    """One ask under way, shared by the thread that thinks and the main thread that owns the socket.

    The thinking thread writes `text`, `steps`, `phase` (each whole, so that a reader needs no lock); the main
    thread sets `stop`. `note` wakes the main thread.
    """

    def __init__(self, ask: wire.Ask, note: Callable[[], None] = lambda: None) -> None:
        self.ask = Asked.model_construct(**dict(ask))
        self.note = note
        self.stop = threading.Event()
        self.text = ""
        self.steps = 0
        self.phase: Phase = "queued"

    def say(self, piece: str) -> None:
        """Append words. A lone surrogate becomes U+FFFD: it could not be sent."""
        self.text += piece.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        self.note()


class Engine:
    """The engine as one thought sees it: `stream` with the ask's fork seed, priority and stop built in.

    One stream at a time; several may follow each other.
    """

    def __init__(self, client: EngineClient, thinking: Thinking) -> None:
        self._client = client
        self._thinking = thinking
        self._model = thinking.ask.model
        self.streamed: list[tuple[str, en.Done]] = []
        """Each finished generation: the text that was yielded, and the engine's last word on it."""
        self.lost = False

    @property
    def model(self) -> str:
        """Digest of the model the token ids of the ask belong to: as it says, or the engine's present one."""
        if not self._model:
            with self._noting_loss():
                self._model = self._client.info().model
        return self._model

    @contextmanager
    def _noting_loss(self) -> Iterator[None]:
        try:
            yield
        except EngineLost:
            self.lost = True
            raise

    def stream(
        self,
        prompt: str | en.Prompt,
        *,
        seed: int = 0,
        temperature: float = 0.8,
        repeat_penalty: float = 1.0,
        max_tokens: int | None = None,
        stop: Sequence[str] = ("\n", "["),
        sentence: bool = False,
        fork_seed: wire.ForkSeed | Literal["ask"] | None = "ask",
    ) -> Iterator[str]:
        """Pieces of text as they are generated.

        A text prompt goes on from its last line; the lines before it are what the model answers. A greedy ask
        overrules `temperature`, its max_tokens stands where none is given, and the text starts with the ask's
        fork seed unless `fork_seed` says otherwise. Raises EngineError (EngineLost, Cancelled).
        """
        ask = self._thinking.ask
        forced = (ask.fork_seed if fork_seed == "ask" else fork_seed) or wire.ForkSeed()
        request = en.Generate(
            request=uuid.uuid4().hex,
            prompt=open_prompt(prompt) if isinstance(prompt, str) else prompt,
            forced_ids=forced.ids,
            forced_text=forced.text,
            bans=forced.bans,
            sampling=en.Sampling(
                temperature=0.0 if ask.greedy else temperature, repeat_penalty=repeat_penalty, seed=seed
            ),
            stop=tuple(stop),
            sentence=sentence,
            max_tokens=max_tokens or ask.max_tokens or 48,
            priority=ask.priority,
        )
        spoken = ""
        answers = self._client.stream(request, self._thinking.stop.is_set)
        with self._noting_loss(), closing(answers):
            for answer in answers:
                if isinstance(answer, en.Tokens):
                    self._thinking.steps, self._thinking.phase = answer.steps, answer.phase
                if len(answer.text) > len(spoken) and answer.text.startswith(spoken):
                    piece, spoken = answer.text[len(spoken) :], answer.text
                    yield piece
                if isinstance(answer, en.Done):
                    self.streamed.append((spoken, answer))


def open_prompt(text: str) -> en.Prompt:
    """A text as a prompt: its last line is the open answer to the lines before it.

    Blanks at the end are dropped: a model's words begin with their blank, and two make odd tokens.
    """
    before, _, last = text.rstrip(" ").rpartition("\n")
    messages = [en.PromptMessage(role="assistant", parts=(en.Part(text=last),))]
    if before.strip():
        messages.insert(0, en.PromptMessage(role="user", parts=(en.Part(text=before),)))
    return en.Prompt(messages=tuple(messages))


class Voice:
    """A voice. Subclass it, give it a name, write `think`, call `main`."""

    name = ""
    modes: tuple[str, ...] = ()
    """Modes this voice can speak in; empty: all."""
    slots = 8
    """Thoughts it can have at one time, each in a thread of its own."""
    patience_s = 10.0
    """Silence of the engine after which it is taken for lost."""

    def __init__(self) -> None:
        self.endpoint = os.environ.get("INNER_ENGINE", "")
        self._thought = threading.local()
        self._lock = threading.Lock()
        self._idle: list[EngineClient] = []

    def think(self, ask: Asked) -> Iterator[str]:
        """Yield pieces of the next thought; return ends it; raise (Decline, or anything) declines."""
        raise NotImplementedError(f"{type(self).__name__} has no think method")

    @property
    def engine(self) -> Engine:
        """The engine, for the ask this thread thinks about. Raises Decline where there is none."""
        handle: Engine | None = getattr(self._thought, "engine", None)
        if handle is None:
            if not self.endpoint:
                raise Decline("no engine: INNER_ENGINE is not set", code="engine_error")
            thinking: Thinking | None = getattr(self._thought, "thinking", None)
            if thinking is None:
                raise RuntimeError("the engine can be used inside think only")
            with self._lock:
                client = self._idle.pop() if self._idle else None
            self._thought.client = client or EngineClient(self.endpoint, patience=self.patience_s)
            self._thought.engine = handle = Engine(self._thought.client, thinking)
        return handle

    @contextmanager
    def _thinking(self, thinking: Thinking) -> Iterator[None]:
        """Lends this thread a client. A client the engine fell silent on is closed with all it had queued."""
        self._thought.thinking = thinking
        try:
            yield
        finally:
            client: EngineClient | None = getattr(self._thought, "client", None)
            handle: Engine | None = getattr(self._thought, "engine", None)
            if client is not None and handle is not None and handle.lost:
                client.close()
            elif client is not None:
                with self._lock:
                    self._idle.append(client)
            self._thought.__dict__.clear()

    def close(self) -> None:
        """Close the connections to the engine that nobody uses."""
        with self._lock:
            while self._idle:
                self._idle.pop().close()

    def speak(self, thinking: Thinking) -> wire.Proposal | wire.Declined:
        """Think about one ask: exactly one proposal or one declined, whatever `think` does."""
        ask = thinking.ask
        try:
            with self._thinking(thinking):
                words = self.think(ask)
                try:
                    for n, piece in enumerate(words, start=1):
                        if thinking.stop.is_set():
                            raise Cancelled
                        thinking.phase, thinking.steps = "speaking", max(thinking.steps, n)
                        thinking.say(piece)
                        if len(thinking.text) > TEXT_LIMIT:
                            raise Decline(f"more than {TEXT_LIMIT} characters", code="too_large")
                finally:
                    if isinstance(words, Generator):  # now, while the client is still ours
                        words.close()
                handle: Engine | None = getattr(self._thought, "engine", None)
                streamed = handle.streamed if handle else []
            return _proposal(thinking, streamed)
        except Decline as error:
            return _declined(ask, error.code, error, error.retryable)
        except EngineError as error:
            code = error.code if error.code in ENGINE_ERRORS else "engine_error"
            return _declined(ask, code, error, error.retryable)
        except Exception as error:
            log.exception("%s could not think about %s", self.name, ask.request)
            return _declined(ask, "voice_error", error, False)

    def main(self) -> None:
        """Serve the hub named by INNER_HUB until it, the parent process or a signal ends it; then exit."""
        from voices.worker import serve

        sys.exit(serve(self))


def _proposal(thinking: Thinking, streamed: Sequence[tuple[str, en.Done]]) -> wire.Proposal | wire.Declined:
    """The final for what was said. Statistics go with it where they are of just these words."""
    text, finish, stats = thinking.text.strip(), "end", None
    if len(streamed) == 1:
        spoken, done = streamed[0]
        if text in (spoken.strip(), done.text.strip()) and done.finish != "cancelled":
            text, finish, stats = done.text.strip(), done.finish, done.stats
    if not text:
        return _declined(thinking.ask, "empty", "nothing was said", True)
    return wire.Proposal.model_validate(
        {
            "epoch": thinking.ask.epoch,
            "request": thinking.ask.request,
            "seq": 0,
            "text": text,
            "finish": finish,
            "stats": stats,
        }
    )


def _declined(ask: wire.Ask, code: str, why: object, retryable: bool) -> wire.Declined:
    message = str(why).encode("utf-8", "replace").decode()[:500]
    if not message:
        message = type(why).__name__
    return wire.Declined(
        epoch=ask.epoch, request=ask.request, seq=0, code=code, message=message, retryable=retryable
    )
