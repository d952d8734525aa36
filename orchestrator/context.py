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


def build(
    opening: ThoughtRecord,
    newest: Sequence[ThoughtRecord],
    *,
    room: int,
    length: Callable[[ThoughtRecord], int],
) -> Context:
    """The opening, and as many of the newest thoughts as fit `room` tokens; at least the last one.

    `newest` ends with the tip and may begin anywhere after the opening. `length` gives a thought's tokens without
    its tag. The newest thought is never cut: a text longer than the whole window is the engine's to refuse.
    """
    rest = [thought for thought in newest if thought.id != opening.id]
    budget = room - length(opening) - TAG_TOKENS
    total = sum(length(thought) + TAG_TOKENS for thought in rest)
    start = 0
    while start < len(rest) - 1 and (total > budget or (start and rest[start].depth % CHUNK)):
        total -= length(rest[start]) + TAG_TOKENS
        start += 1
    kept = rest[start:]
    before = kept[0].depth - opening.depth - 1 if kept else 0
    return Context(turns=tuple(_turn(thought) for thought in (opening, *kept)), left_out=before)


def _turn(thought: ThoughtRecord) -> Turn:
    return Turn(author=thought.author, text=thought.text, ids=thought.token_ids, human=thought.human)
