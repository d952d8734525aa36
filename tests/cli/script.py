"""A scripted orchestrator: plays thoughts and forks into a real store, as the real one would, without voices.

A script is a list of `Say` and `Part`; it goes on where the store says it may. At its end it rests.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.errors import TipMoved
from orchestrator.store import NewDecision, NewFork, NewOption, NewThought, Store, ThreadRecord

SIGNALS: dict[str, float | int] = {"nll": 4.5, "entropy_mean": 1.5, "entropy_max": 2.5, "n_tokens": 3}


@dataclass(frozen=True)
class Say:
    """A voice says this by itself."""

    author: str
    text: str


@dataclass(frozen=True)
class Part:
    """The way parts: (voices, text, p) each. Asked of a person, or decided where `asked` is False or nobody is."""

    options: tuple[tuple[tuple[str, ...], str, float], ...]
    reason: str = "two meanings at “asked”, 0.9 nats"
    asked: bool = True
    prefix: str = ""
    ahead: str | None = None


ASKED = Part(
    (
        (("Doubt", "Echo"), "Was it the project, or the person who asked?", 0.5),
        (("Pulse",), "Was it the project? Either way it begins on Monday.", 0.25),
    )
)


def options_of(part: Part) -> list[NewOption]:
    return [
        NewOption(
            text=text,
            voices=voices,
            key=key,
            p=p,
            signals=SIGNALS,
            prefix_text=part.prefix,
            look_ahead=part.ahead,
            hidden=b"\x00\xff",
        )
        for key, (voices, text, p) in enumerate(part.options, 1)
    ]


def decision(asked: bool) -> NewDecision:
    return NewDecision(reading={}, score=0.5, threshold=0.5, asked=asked)


class Dialogue:
    """Plays a script at a store; `async with` it."""

    def __init__(self, store: Store, script: Sequence[Say | Part]) -> None:
        self._store = store
        self._script = list(script)
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Dialogue:
        self._task = asyncio.create_task(self._play())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _play(self) -> None:
        while True:
            self.step()
            await asyncio.sleep(0.005)

    def step(self) -> None:
        """What the store asks for now: effects of choices first, then one step of each thread that may go on."""
        for waiting in self._store.pending():
            if waiting.choice.kind == "none":
                drawn = Part(
                    ((("Shift",), f"Another draw, the {waiting.fork.attempt + 1}.", 0.5),), "another draw"
                )
                self._open(waiting.thread, drawn)
            else:
                self._store.apply(waiting.choice.id)
        for thread in self._store.runnable():
            if self._script:
                self._next(thread)
            else:
                self._store.set_remaining(thread.id, 0)

    def _next(self, thread: ThreadRecord) -> None:
        match self._script.pop(0):
            case Say(author, text):
                new = NewThought(author=author, text=text, signals=SIGNALS)
                self._store.commit_thought(thread.id, thread.tip, new, decision(False))
            case Part() as part if part.asked and thread.arbiter == "person":
                self._open(thread, part)
            case Part() as part:
                self._decide(thread, part)

    def _open(self, thread: ThreadRecord, part: Part) -> None:
        new = NewFork(asked=True, reason=part.reason)
        try:
            self._store.open_new_fork(thread.id, thread.tip, new, options_of(part), decision(True))
        except TipMoved:
            self._script.insert(0, part)

    def _decide(self, thread: ThreadRecord, part: Part) -> None:
        options = [option.model_copy(update={"key": None}) for option in options_of(part)]
        new = NewThought(author=options[0].voices[0], text=options[0].text, signals=SIGNALS)
        fork = NewFork(asked=False, reason=part.reason)
        self._store.commit_thought(thread.id, thread.tip, new, decision(False), fork, options, chosen=0)
