"""What goes into the store and what comes out of it: frozen, validated records.

Owns the boundary types. SQLModel tables do not validate and SQLite drops time zones, so nothing else crosses the
store's edge. Times are aware and UTC. Order is `seq` (the order of insertion), never a time or an id.
Probabilities are in [0, 1], entropies in nats, NLL = −Σ ln p over the step's tokens.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime
from math import isfinite
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Via = Literal["click", "key", "dwell", "switch", "text", "api", "auto"]
"""How a choice was made; `auto` is the gate or an arbiter that is not a person."""
ChoiceKind = Literal["option", "edit", "own", "none"]
Source = Literal["lead", "branch", "voice"]
Outcome = Literal["proposal", "declined", "lost", "late", "cancelled", "died", "stalled"]
Arbiter = Literal["person", "auto"]

GATE = "gate"
"""The arbiter's name on choices the gate made by itself."""


class Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


# ---- into the store -------------------------------------------------------------------------------------------


class NewThought(Record):
    """A thought as it was spoken. Thread, parent, decision and choice are given by the step that commits it."""

    author: str
    text: str
    human: bool = False
    via: Via = "auto"
    seconds: float = 0.0
    token_ids: tuple[int, ...] = ()
    model: str = ""
    """Digest of the model file the ids belong to."""
    signals: dict[str, float | int] = Field(default_factory=dict)
    """nll, entropy_mean, entropy_max, n_tokens, ..."""
    edited: bool = False


class NewDecision(Record):
    """One reading of the gate: go on, or ask."""

    reading: dict[str, Any]
    """Every signal, not only the deciding one."""
    score: float
    threshold: float
    asked: bool
    mode: str = ""
    """The thread's mode unless given."""


class NewFork(Record):
    asked: bool
    """True: put before the arbiter. False: the gate went on by itself; kept for learning."""
    reason: str = ""
    """One line for the arbiter: why the way forks here."""
    reading: dict[str, Any] = Field(default_factory=dict)
    fork_point: dict[str, Any] = Field(default_factory=dict)


class NewOption(Record):
    """A proposal for a fork. The order given is the order kept; `key` is what the arbiter presses."""

    text: str
    voices: tuple[str, ...] = Field(min_length=1)
    """All who proposed this meaning; the first one becomes the author."""
    key: int | None = Field(None, ge=1)
    """1.. as shown; None = not shown."""
    p: float = Field(0.0, ge=0.0, le=1.0)
    token_ids: tuple[int, ...] = ()
    model: str = ""
    statistics: dict[str, Any] = Field(default_factory=dict)
    """Columns, one number a token: logp, entropy, varentropy, margin, ..."""
    signals: dict[str, float | int] = Field(default_factory=dict)
    """What the thought's signals become if this is chosen; empty: `signals_of(statistics)`."""
    hidden: bytes | None = None
    """Mean last-layer hidden state over the tokens, float16."""
    source: Source = "voice"
    rank: int = 0
    request_ids: tuple[str, ...] = ()
    prefix_len: int = Field(0, ge=0)
    """Tokens before the fork point."""
    prefix_text: str = ""
    """The words all options share before the fork point."""
    look_ahead: str | None = None


class NewRequest(Record):
    id: str
    """The same as on the wire."""
    thread_id: str
    thought_id: str
    voice: str
    role: str = ""
    prompt_digest: str = ""
    model: str = ""
    seed: int = 0


class NewReply(Record):
    """How a request ended."""

    request_id: str
    outcome: Outcome
    text: str = ""
    code: str = ""


# ---- out of the store -----------------------------------------------------------------------------------------


class ThoughtRecord(Record):
    id: str
    seq: int
    thread_id: str
    """The thread it was said in; a branch made later shares it."""
    parent_id: str | None
    root_id: str
    """The opening of its tree."""
    depth: int
    """1 for the opening."""
    author: str
    human: bool
    text: str
    digest: str
    choice_id: str | None
    via: Via
    seconds: float
    token_ids: tuple[int, ...]
    model: str
    signals: dict[str, float | int]
    decision_id: str | None
    edited: bool
    created_at: datetime


class ThreadRecord(Record):
    id: str
    title: str
    mode: str
    tip: str
    forked_from: str | None
    remaining: int
    """Thoughts that may still go on by themselves; 0 rests."""
    stride: int
    """What `remaining` becomes after each choice or own words of a person."""
    arbiter: Arbiter
    archived_at: datetime | None
    created_at: datetime
    updated_at: datetime


class ThreadSummary(ThreadRecord):
    """A thread as a line of a list."""

    opening: str
    last: str
    n_thoughts: int
    """On the path from the opening to the tip."""
    open_fork: bool


class OptionRecord(Record):
    id: str
    fork_id: str
    key: int | None
    text: str
    voices: tuple[str, ...]
    p: float
    token_ids: tuple[int, ...]
    model: str
    statistics: dict[str, Any]
    signals: dict[str, float | int]
    hidden: bytes | None
    source: Source
    rank: int
    request_ids: tuple[str, ...]
    prefix_len: int
    prefix_text: str
    look_ahead: str | None


class ChoiceRecord(Record):
    id: str
    seq: int
    fork_id: str
    kind: ChoiceKind
    option_id: str | None
    text: str | None
    arbiter: str
    via: Via
    seconds: float
    seen: str
    created_at: datetime


class ForkRecord(Record):
    id: str
    seq: int
    thread_id: str
    thought_id: str
    """The fork is about what follows this thought."""
    attempt: int
    """1.. at this thought in this thread: another draw after "none of these", or a fork opened again by undo."""
    asked: bool
    reason: str
    reading: dict[str, Any]
    fork_point: dict[str, Any]
    decision_id: str | None
    reopens: str | None
    created_at: datetime
    options: tuple[OptionRecord, ...]
    choice: ChoiceRecord | None

    @property
    def shown(self) -> tuple[OptionRecord, ...]:
        """The options the arbiter sees, by key."""
        return tuple(
            sorted((option for option in self.options if option.key), key=lambda option: option.key or 0)
        )

    @property
    def seen(self) -> str:
        """Digest of what is shown, for `choose(seen=...)`: what the choice was made from, provably."""
        lines = (f"{option.key}\0{option.id}\0{option.text}" for option in self.shown)
        return hashlib.sha256("\0\0".join(lines).encode()).hexdigest()


class DecisionRecord(Record):
    id: str
    seq: int
    thread_id: str
    thought_id: str
    """The thought it was about to go on from."""
    mode: str
    reading: dict[str, Any]
    score: float
    threshold: float
    asked: bool
    created_at: datetime


class RequestRecord(Record):
    id: str
    seq: int
    thread_id: str
    thought_id: str
    voice: str
    role: str
    prompt_digest: str
    model: str
    seed: int
    created_at: datetime


class ReplyRecord(Record):
    seq: int
    request_id: str
    outcome: Outcome
    text: str
    code: str
    created_at: datetime


class ChoiceOutcome(Record):
    """`won` False: somebody chose first; `choice` is theirs and stands."""

    choice: ChoiceRecord
    won: bool


class Pending(Record):
    """A choice without effect yet: apply it, or (kind none) draw again."""

    choice: ChoiceRecord
    fork: ForkRecord
    thread: ThreadRecord


def thought_digest(parent_digest: str, author: str, text: str) -> str:
    """SHA-256 over parent digest, author and text, NUL between them (no text can hold one). Hex."""
    return hashlib.sha256(f"{parent_digest}\0{author}\0{text}".encode()).hexdigest()


def signals_of(statistics: Mapping[str, Any]) -> dict[str, float | int]:
    """A step's signals from its per-token columns (logp, entropy; finite numbers only). Empty without columns."""
    logp, entropy = _column(statistics, "logp"), _column(statistics, "entropy")
    signals: dict[str, float | int] = {}
    if logp:
        signals["nll"] = -sum(logp)
        signals["n_tokens"] = len(logp)
    if entropy:
        signals["entropy_mean"] = sum(entropy) / len(entropy)
        signals["entropy_max"] = max(entropy)
    return signals


def _column(statistics: Mapping[str, Any], name: str) -> list[float]:
    column = statistics.get(name)
    if not isinstance(column, list | tuple):
        return []
    return [float(value) for value in column if isinstance(value, int | float) and isfinite(value)]
