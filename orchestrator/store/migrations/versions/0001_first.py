"""The first schema: insert-only facts, one mutable pointer (a thread's tip)."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

LATER: tuple[tuple[str, str, str, dict[str, Any]], ...] = (
    ("thread", "tip", "thought", {"deferrable": True, "initially": "DEFERRED"}),
    ("thread", "forked_from", "thought", {}),
    ("thought", "choice_id", "choice", {}),
    ("thought", "decision_id", "decision", {}),
)
"""Keys of a cycle of tables: inline on SQLite, which cannot add constraints; added at the end elsewhere."""

INSERT_ONLY = ("thought", "decision", "fork", "option", "choice", "request", "reply", "prompt", "model")


def upgrade() -> None:
    _draft()
    _model()
    _prompt()
    _setting()
    _thread()
    _thought()
    _decision()
    _request()
    _fork()
    _reply()
    _option()
    _choice()
    if op.get_bind().dialect.name == "sqlite":
        _refuse_changes()
    else:
        for table, column, target, options in LATER:
            op.create_foreign_key(f"fk_{table}_{column}", table, target, [column], ["id"], **options)


def _refuse_changes() -> None:
    for table in INSERT_ONLY:
        for verb in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} BEGIN"
                f" SELECT RAISE(ABORT, '{table} is insert-only: {verb} refused'); END"
            )


def _seq() -> sa.Column[int]:
    kind = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    return sa.Column("seq", kind, autoincrement=True, nullable=False)


def _draft() -> None:
    op.create_table(
        "draft",
        sa.Column("thread_id", sa.String(length=200), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("thread_id", name="pk_draft"),
    )


def _model() -> None:
    op.create_table(
        "model",
        sa.Column("digest", sa.String(length=100), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("facts", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_model"),
    )


def _prompt() -> None:
    op.create_table(
        "prompt",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_prompt"),
    )


def _setting() -> None:
    op.create_table(
        "setting",
        sa.Column("key", sa.String(length=200), nullable=False),
        sa.Column("value", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_setting"),
    )


def _thread() -> None:
    op.create_table(
        "thread",
        _seq(),
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("mode", sa.Text(), nullable=False),
        sa.Column("tip", sa.String(length=36), nullable=False),
        sa.Column("forked_from", sa.String(length=36), nullable=True),
        sa.Column("remaining", sa.Integer(), nullable=False),
        sa.Column("stride", sa.Integer(), nullable=False),
        sa.Column("arbiter", sa.Text(), nullable=False),
        sa.Column("touched", sa.BigInteger(), nullable=False),
        sa.Column("archived_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("remaining >= 0", name=op.f("ck_thread_remaining")),
        sa.CheckConstraint("stride >= 0", name=op.f("ck_thread_stride")),
        sa.ForeignKeyConstraint(
            ["forked_from"], ["thought.id"], name="fk_thread_forked_from", use_alter=True
        ),
        sa.ForeignKeyConstraint(
            ["tip"],
            ["thought.id"],
            name="fk_thread_tip",
            initially="DEFERRED",
            deferrable=True,
            use_alter=True,
        ),
        sa.PrimaryKeyConstraint("seq", name="pk_thread"),
        sa.UniqueConstraint("id", name="uq_thread_id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_thread_touched", "thread", ["touched"], unique=False)


def _thought() -> None:
    op.create_table(
        "thought",
        _seq(),
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("thread_id", sa.String(length=36), nullable=False),
        sa.Column("parent_id", sa.String(length=36), nullable=True),
        sa.Column("root_id", sa.String(length=36), nullable=False),
        sa.Column("depth", sa.Integer(), nullable=False),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("human", sa.Boolean(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("choice_id", sa.String(length=36), nullable=True),
        sa.Column("via", sa.Text(), nullable=False),
        sa.Column("seconds", sa.Float(), nullable=False),
        sa.Column("token_ids", sa.JSON(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("signals", sa.JSON(), nullable=False),
        sa.Column("decision_id", sa.String(length=36), nullable=True),
        sa.Column("edited", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "via IN ('click', 'key', 'dwell', 'switch', 'text', 'api', 'auto')", name=op.f("ck_thought_via")
        ),
        sa.ForeignKeyConstraint(["choice_id"], ["choice.id"], name="fk_thought_choice_id", use_alter=True),
        sa.ForeignKeyConstraint(
            ["decision_id"], ["decision.id"], name="fk_thought_decision_id", use_alter=True
        ),
        sa.ForeignKeyConstraint(["parent_id"], ["thought.id"], name="fk_thought_parent_id"),
        sa.ForeignKeyConstraint(["root_id"], ["thought.id"], name="fk_thought_root_id"),
        sa.ForeignKeyConstraint(["thread_id"], ["thread.id"], name="fk_thought_thread_id"),
        sa.PrimaryKeyConstraint("seq", name="pk_thought"),
        sa.UniqueConstraint("choice_id", name="uq_thought_choice_id"),
        sa.UniqueConstraint("id", name="uq_thought_id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_thought_parent_id", "thought", ["parent_id"], unique=False)
    op.create_index("ix_thought_root_id_seq", "thought", ["root_id", "seq"], unique=False)
    op.create_index("ix_thought_thread_id", "thought", ["thread_id"], unique=False)


def _decision() -> None:
    op.create_table(
        "decision",
        _seq(),
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("thread_id", sa.String(length=36), nullable=False),
        sa.Column("thought_id", sa.String(length=36), nullable=False),
        sa.Column("mode", sa.Text(), nullable=False),
        sa.Column("reading", sa.JSON(), nullable=False),
        sa.Column("score", sa.Float(), nullable=False),
        sa.Column("threshold", sa.Float(), nullable=False),
        sa.Column("asked", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["thought_id"], ["thought.id"], name="fk_decision_thought_id"),
        sa.ForeignKeyConstraint(["thread_id"], ["thread.id"], name="fk_decision_thread_id"),
        sa.PrimaryKeyConstraint("seq", name="pk_decision"),
        sa.UniqueConstraint("id", name="uq_decision_id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_decision_thread_id_seq", "decision", ["thread_id", "seq"], unique=False)


def _request() -> None:
    op.create_table(
        "request",
        _seq(),
        sa.Column("id", sa.String(length=100), nullable=False),
        sa.Column("thread_id", sa.String(length=36), nullable=False),
        sa.Column("thought_id", sa.String(length=36), nullable=False),
        sa.Column("voice", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("prompt_digest", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["thought_id"], ["thought.id"], name="fk_request_thought_id"),
        sa.ForeignKeyConstraint(["thread_id"], ["thread.id"], name="fk_request_thread_id"),
        sa.PrimaryKeyConstraint("seq", name="pk_request"),
        sa.UniqueConstraint("id", name="uq_request_id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_request_thread_id_seq", "request", ["thread_id", "seq"], unique=False)


def _fork() -> None:
    op.create_table(
        "fork",
        _seq(),
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("thread_id", sa.String(length=36), nullable=False),
        sa.Column("thought_id", sa.String(length=36), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("asked", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("reading", sa.JSON(), nullable=False),
        sa.Column("fork_point", sa.JSON(), nullable=False),
        sa.Column("decision_id", sa.String(length=36), nullable=True),
        sa.Column("reopens", sa.String(length=36), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("attempt >= 1", name=op.f("ck_fork_attempt")),
        sa.ForeignKeyConstraint(["decision_id"], ["decision.id"], name="fk_fork_decision_id"),
        sa.ForeignKeyConstraint(["reopens"], ["fork.id"], name="fk_fork_reopens"),
        sa.ForeignKeyConstraint(["thought_id"], ["thought.id"], name="fk_fork_thought_id"),
        sa.ForeignKeyConstraint(["thread_id"], ["thread.id"], name="fk_fork_thread_id"),
        sa.PrimaryKeyConstraint("seq", name="pk_fork"),
        sa.UniqueConstraint("id", name="uq_fork_id"),
        sa.UniqueConstraint(
            "thought_id", "thread_id", "attempt", name="uq_fork_thought_id_thread_id_attempt"
        ),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_fork_thread_id_seq", "fork", ["thread_id", "seq"], unique=False)


def _reply() -> None:
    op.create_table(
        "reply",
        _seq(),
        sa.Column("request_id", sa.String(length=100), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "outcome IN ('proposal', 'declined', 'lost', 'late', 'cancelled', 'died', 'stalled')",
            name=op.f("ck_reply_outcome"),
        ),
        sa.ForeignKeyConstraint(["request_id"], ["request.id"], name="fk_reply_request_id"),
        sa.PrimaryKeyConstraint("seq", name="pk_reply"),
        sa.UniqueConstraint("request_id", name="uq_reply_request_id"),
        sqlite_autoincrement=True,
    )


def _option() -> None:
    op.create_table(
        "option",
        _seq(),
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("fork_id", sa.String(length=36), nullable=False),
        sa.Column("key", sa.Integer(), nullable=True),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("voices", sa.JSON(), nullable=False),
        sa.Column("p", sa.Float(), nullable=False),
        sa.Column("token_ids", sa.JSON(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("statistics", sa.JSON(), nullable=False),
        sa.Column("signals", sa.JSON(), nullable=False),
        sa.Column("hidden", sa.LargeBinary(), nullable=True),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.Column("request_ids", sa.JSON(), nullable=False),
        sa.Column("prefix_len", sa.Integer(), nullable=False),
        sa.Column("prefix_text", sa.Text(), nullable=False),
        sa.Column("look_ahead", sa.Text(), nullable=True),
        sa.CheckConstraint("source IN ('lead', 'branch', 'voice')", name=op.f("ck_option_source")),
        sa.CheckConstraint("p >= 0 AND p <= 1", name=op.f("ck_option_p")),
        sa.ForeignKeyConstraint(["fork_id"], ["fork.id"], name="fk_option_fork_id"),
        sa.PrimaryKeyConstraint("seq", name="pk_option"),
        sa.UniqueConstraint("fork_id", "id", name="uq_option_fork_id_id"),
        sa.UniqueConstraint("fork_id", "key", name="uq_option_fork_id_key"),
        sa.UniqueConstraint("id", name="uq_option_id"),
        sqlite_autoincrement=True,
    )


def _choice() -> None:
    op.create_table(
        "choice",
        _seq(),
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("fork_id", sa.String(length=36), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("option_id", sa.String(length=36), nullable=True),
        sa.Column("text", sa.Text(), nullable=True),
        sa.Column("arbiter", sa.Text(), nullable=False),
        sa.Column("via", sa.Text(), nullable=False),
        sa.Column("seconds", sa.Float(), nullable=False),
        sa.Column("seen", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "(kind = 'option' AND option_id IS NOT NULL AND text IS NULL)"
            " OR (kind = 'edit' AND option_id IS NOT NULL AND text IS NOT NULL)"
            " OR (kind = 'own' AND option_id IS NULL AND text IS NOT NULL)"
            " OR (kind = 'none' AND option_id IS NULL AND text IS NULL)",
            name=op.f("ck_choice_kind"),
        ),
        sa.CheckConstraint(
            "via IN ('click', 'key', 'dwell', 'switch', 'text', 'api', 'auto')", name=op.f("ck_choice_via")
        ),
        sa.ForeignKeyConstraint(
            ["fork_id", "option_id"], ["option.fork_id", "option.id"], name="fk_choice_fork_id_option_id"
        ),
        sa.ForeignKeyConstraint(["fork_id"], ["fork.id"], name="fk_choice_fork_id"),
        sa.PrimaryKeyConstraint("seq", name="pk_choice"),
        sa.UniqueConstraint("fork_id", name="uq_choice_fork_id"),
        sa.UniqueConstraint("id", name="uq_choice_id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_choice_fork_id_option_id", "choice", ["fork_id", "option_id"], unique=False)
