"""The tables, as SQLModel classes: the shape of the storage and its constraints.

Owns columns, keys, checks and indexes; migrations/ makes them, and a test holds the two together. Knows nothing of
transactions. Facts are insert-only (triggers.py); the mutable tables are thread, setting and draft.
Portable: no type or clause here is SQLite's alone.
"""

from __future__ import annotations

from datetime import UTC, datetime
from math import isfinite
from typing import Any, get_args

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
)
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel

from orchestrator.store.records import Outcome, Source, Via
from orchestrator.text import scrub

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}


class UtcDateTime(TypeDecorator[datetime]):
    """An aware time, kept as UTC. SQLite drops the zone, so it is put back when read."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"a time without zone: {value!r}")
        aware = value.astimezone(UTC)
        return aware.replace(tzinfo=None) if dialect.name == "sqlite" else aware

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class CleanText(TypeDecorator[str]):
    """Text that every database takes: no NUL, no lone surrogates."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return None if value is None else scrub(value)


class CleanId(TypeDecorator[str]):
    """An id or key; what is looked up may be anything a person typed."""

    impl = String
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return None if value is None else scrub(value)


class PlainJson(TypeDecorator[Any]):
    """JSON that every database and every reader takes: no NaN or infinity (null instead), no NUL or lone
    surrogates in its texts."""

    impl = JSON(none_as_null=False)
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        return plain(value)


def plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if isfinite(value) else None
    if isinstance(value, str):
        return scrub(value)
    if isinstance(value, dict):
        return {scrub(str(key)): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


class Base(SQLModel, registry=registry(metadata=MetaData(naming_convention=NAMING))):
    """SQLModel with a registry of its own: the names are the store's, not the process's."""


def _seq() -> Any:
    """The order of insertion. AUTOINCREMENT on SQLite: a number is never given twice."""
    kind = BigInteger().with_variant(Integer(), "sqlite")
    return Field(default=None, sa_column=Column("seq", kind, primary_key=True, autoincrement=True))


def _key(
    target: str | None = None,
    *,
    null: bool = False,
    unique: bool = False,
    index: bool = False,
    later: bool = False,
    deferred: bool = False,
) -> Any:
    """An id, and what it points to. `later` breaks a cycle of tables: the constraint is added after both exist.
    `deferred`: checked at COMMIT, because what it points to is inserted after it."""
    keys = []
    if target:
        initially = "DEFERRED" if deferred else None
        keys = [ForeignKey(target, use_alter=later, deferrable=deferred or None, initially=initially)]
    column: Column[str] = Column(
        CleanId(36), *keys, nullable=null, unique=unique or None, index=index or None
    )
    return Field(sa_column=column)


def _of(kind: Any, *, null: bool = False) -> Any:
    return Field(sa_column=Column(kind, nullable=null))


def _one_of(column: str, values: Any, name: str) -> CheckConstraint:
    allowed = ", ".join(f"'{value}'" for value in get_args(values))
    return CheckConstraint(f"{column} IN ({allowed})", name=name)


_SEQUENCE = {"sqlite_autoincrement": True}


class Thread(Base, table=True):
    """A line of thought: the only mutable row of a dialogue. `touched` orders threads by activity."""

    __tablename__ = "thread"
    __table_args__ = (
        CheckConstraint("remaining >= 0", name="remaining"),
        CheckConstraint("stride >= 0", name="stride"),
        Index("ix_thread_touched", "touched"),
        _SEQUENCE,
    )
    seq: int = _seq()
    id: str = _key(unique=True)
    title: str = _of(CleanText)
    mode: str = _of(CleanText)
    tip: str = _key("thought.id", later=True, deferred=True)
    forked_from: str | None = _key("thought.id", null=True, later=True)
    remaining: int = _of(Integer)
    stride: int = _of(Integer)
    arbiter: str = _of(CleanText)
    touched: int = _of(BigInteger)
    archived_at: datetime | None = _of(UtcDateTime, null=True)
    created_at: datetime = _of(UtcDateTime)
    updated_at: datetime = _of(UtcDateTime)


class Thought(Base, table=True):
    """One node of the tree. root_id and depth make lists and whole trees cheap."""

    __tablename__ = "thought"
    __table_args__ = (
        _one_of("via", Via, "via"),
        Index("ix_thought_root_id_seq", "root_id", "seq"),
        _SEQUENCE,
    )
    seq: int = _seq()
    id: str = _key(unique=True)
    thread_id: str = _key("thread.id", index=True)
    parent_id: str | None = _key("thought.id", null=True, index=True)
    root_id: str = _key("thought.id")
    depth: int = _of(Integer)
    author: str = _of(CleanText)
    human: bool = _of(Boolean)
    text: str = _of(CleanText)
    digest: str = _of(CleanId(64))
    choice_id: str | None = _key("choice.id", null=True, unique=True, later=True)
    via: str = _of(CleanText)
    seconds: float = _of(Float)
    token_ids: list[int] = _of(PlainJson)
    model: str = _of(CleanText)
    signals: dict[str, Any] = _of(PlainJson)
    decision_id: str | None = _key("decision.id", null=True, later=True)
    edited: bool = _of(Boolean)
    created_at: datetime = _of(UtcDateTime)


class Decision(Base, table=True):
    """One reading of the gate at a thought."""

    __tablename__ = "decision"
    __table_args__ = (Index("ix_decision_thread_id_seq", "thread_id", "seq"), _SEQUENCE)
    seq: int = _seq()
    id: str = _key(unique=True)
    thread_id: str = _key("thread.id")
    thought_id: str = _key("thought.id")
    mode: str = _of(CleanText)
    reading: dict[str, Any] = _of(PlainJson)
    score: float = _of(Float)
    threshold: float = _of(Float)
    asked: bool = _of(Boolean)
    created_at: datetime = _of(UtcDateTime)


class Fork(Base, table=True):
    """Options put before the arbiter. A thought may be the tip of two threads, each with its own attempts."""

    __tablename__ = "fork"
    __table_args__ = (
        UniqueConstraint("thought_id", "thread_id", "attempt"),
        CheckConstraint("attempt >= 1", name="attempt"),
        Index("ix_fork_thread_id_seq", "thread_id", "seq"),
        _SEQUENCE,
    )
    seq: int = _seq()
    id: str = _key(unique=True)
    thread_id: str = _key("thread.id")
    thought_id: str = _key("thought.id")
    attempt: int = _of(Integer)
    asked: bool = _of(Boolean)
    reason: str = _of(CleanText)
    reading: dict[str, Any] = _of(PlainJson)
    fork_point: dict[str, Any] = _of(PlainJson)
    decision_id: str | None = _key("decision.id", null=True)
    reopens: str | None = _key("fork.id", null=True)
    created_at: datetime = _of(UtcDateTime)


class Option(Base, table=True):
    """A proposal of a fork, in the order given. (fork_id, id) is what a choice may name."""

    __tablename__ = "option"
    __table_args__ = (
        UniqueConstraint("fork_id", "id"),
        UniqueConstraint("fork_id", "key"),
        _one_of("source", Source, "source"),
        CheckConstraint("p >= 0 AND p <= 1", name="p"),
        _SEQUENCE,
    )
    seq: int = _seq()
    id: str = _key(unique=True)
    fork_id: str = _key("fork.id")
    key: int | None = _of(Integer, null=True)
    text: str = _of(CleanText)
    voices: list[str] = _of(PlainJson)
    p: float = _of(Float)
    token_ids: list[int] = _of(PlainJson)
    model: str = _of(CleanText)
    statistics: dict[str, Any] = _of(PlainJson)
    signals: dict[str, Any] = _of(PlainJson)
    hidden: bytes | None = _of(LargeBinary, null=True)
    source: str = _of(CleanText)
    rank: int = _of(Integer)
    request_ids: list[str] = _of(PlainJson)
    prefix_len: int = _of(Integer)
    prefix_text: str = _of(CleanText)
    look_ahead: str | None = _of(CleanText, null=True)


class Choice(Base, table=True):
    """The commit: one a fork, and only of the fork's own options."""

    __tablename__ = "choice"
    __table_args__ = (
        ForeignKeyConstraint(["fork_id", "option_id"], ["option.fork_id", "option.id"]),
        CheckConstraint(
            "(kind = 'option' AND option_id IS NOT NULL AND text IS NULL)"
            " OR (kind = 'edit' AND option_id IS NOT NULL AND text IS NOT NULL)"
            " OR (kind = 'own' AND option_id IS NULL AND text IS NOT NULL)"
            " OR (kind = 'none' AND option_id IS NULL AND text IS NULL)",
            name="kind",
        ),
        _one_of("via", Via, "via"),
        Index("ix_choice_fork_id_option_id", "fork_id", "option_id"),
        _SEQUENCE,
    )
    seq: int = _seq()
    id: str = _key(unique=True)
    fork_id: str = _key("fork.id", unique=True)
    kind: str = _of(CleanText)
    option_id: str | None = _of(CleanId(36), null=True)
    text: str | None = _of(CleanText, null=True)
    arbiter: str = _of(CleanText)
    via: str = _of(CleanText)
    seconds: float = _of(Float)
    seen: str = _of(CleanText)
    created_at: datetime = _of(UtcDateTime)


class Request(Base, table=True):
    """An ask, noted before it is sent; `id` is the id on the wire."""

    __tablename__ = "request"
    __table_args__ = (Index("ix_request_thread_id_seq", "thread_id", "seq"), _SEQUENCE)
    seq: int = _seq()
    id: str = Field(sa_column=Column(CleanId(100), nullable=False, unique=True))
    thread_id: str = _key("thread.id")
    thought_id: str = _key("thought.id")
    voice: str = _of(CleanText)
    role: str = _of(CleanText)
    prompt_digest: str = _of(CleanText)
    model: str = _of(CleanText)
    seed: int = _of(BigInteger)
    created_at: datetime = _of(UtcDateTime)


class Reply(Base, table=True):
    """How a request ended: exactly one final, the first."""

    __tablename__ = "reply"
    __table_args__ = (_one_of("outcome", Outcome, "outcome"), _SEQUENCE)
    seq: int = _seq()
    request_id: str = Field(
        sa_column=Column(CleanId(100), ForeignKey("request.id"), nullable=False, unique=True)
    )
    outcome: str = _of(CleanText)
    text: str = _of(CleanText)
    code: str = _of(CleanText)
    created_at: datetime = _of(UtcDateTime)


class Prompt(Base, table=True):
    """A prompt's text by its digest."""

    __tablename__ = "prompt"
    digest: str = Field(sa_column=Column(CleanId(64), primary_key=True))
    text: str = _of(CleanText)
    created_at: datetime = _of(UtcDateTime)


class Model(Base, table=True):
    """A model file by its digest: its name and what the engine says of it."""

    __tablename__ = "model"
    digest: str = Field(sa_column=Column(CleanId(100), primary_key=True))
    name: str = _of(CleanText)
    facts: dict[str, Any] = _of(PlainJson)
    created_at: datetime = _of(UtcDateTime)


class Setting(Base, table=True):
    __tablename__ = "setting"
    key: str = Field(sa_column=Column(CleanId(200), primary_key=True))
    value: Any = _of(PlainJson)


class Draft(Base, table=True):
    """Words typed and not yet said. The key is a thread's id, or a page's own name for "no thread yet"."""

    __tablename__ = "draft"
    thread_id: str = Field(sa_column=Column(CleanId(200), primary_key=True))
    text: str = _of(CleanText)


metadata: MetaData = Base.metadata


def _table(model: type[SQLModel]) -> Table:
    return metadata.tables[str(model.__tablename__)]


thread, thought, decision = _table(Thread), _table(Thought), _table(Decision)
fork, option, choice = _table(Fork), _table(Option), _table(Choice)
request, reply = _table(Request), _table(Reply)
prompt, model = _table(Prompt), _table(Model)
setting, draft = _table(Setting), _table(Draft)

INSERT_ONLY = ("thought", "decision", "fork", "option", "choice", "request", "reply", "prompt", "model")
"""Tables of facts: the database itself refuses UPDATE and DELETE."""
