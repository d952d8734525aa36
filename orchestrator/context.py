"""Which thoughts a voice is shown: the whole thread while it fits, else the opening and the newest ones.

Owns the rule for a full context (fault 41). Knows nothing of prompts' wording, engines or the store: it is
given thoughts and their lengths in tokens, and returns turns.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from orchestrator.store import ThoughtRecord
from voices.wire import Turn

CHUNK = 16
"""Thoughts leave in chunks, not one by one: the prompt's start then stays the same for many steps, and with it
its KV prefix."""
TAG_TOKENS = 6
"""The tag of a line and its end, at most, in the vocabularies tried."""


@dataclass(frozen=True, slots=True)
class Context:
    """The turns a voice sees, and how many thoughts after the opening were left out."""

    turns: tuple[Turn, ...]
    left_out: int


def build(path: Sequence[ThoughtRecord], *, room: int, length: Callable[[ThoughtRecord], int]) -> Context:
    """The opening, and as many of the newest thoughts as fit `room` tokens; at least the last one.

    `length` gives a thought's tokens without its tag. The newest thought is never cut: a text longer than the
    whole window is the engine's to refuse.
    """
    opening, rest = path[0], list(path[1:])
    budget = room - length(opening) - TAG_TOKENS
    sizes = [length(thought) + TAG_TOKENS for thought in rest]
    total, start = sum(sizes), 0
    while total > budget and start < len(rest) - 1:
        step = min(CHUNK, len(rest) - 1 - start)
        total -= sum(sizes[start : start + step])
        start += step
    return Context(turns=tuple(_turn(t) for t in (opening, *rest[start:])), left_out=start)


def _turn(thought: ThoughtRecord) -> Turn:
    return Turn(author=thought.author, text=thought.text, ids=thought.token_ids, human=thought.human)
