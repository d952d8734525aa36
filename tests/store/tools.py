"""Small makers for store tests, and real processes working on a store."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from orchestrator.store import (
    ForkRecord,
    NewDecision,
    NewFork,
    NewOption,
    NewThought,
    Store,
    ThoughtRecord,
    ThreadRecord,
)

ROOT = Path(__file__).parents[2]

STATISTICS = {"logp": [-0.5, -1.5], "entropy": [1.0, 3.0]}
SIGNALS = {"nll": 2.0, "n_tokens": 2, "entropy_mean": 2.0, "entropy_max": 3.0}

OPTIONS = (
    NewOption(
        text="Call him on Sunday.",
        voices=("Echo", "Pulse"),
        key=1,
        p=0.6,
        token_ids=(11, 12),
        model="m1",
        statistics=STATISTICS,
        hidden=b"\x00\x3c\x00\x3c",
        source="lead",
        request_ids=("r1", "r2"),
        prefix_len=1,
        prefix_text="Call",
        look_ahead="He picks up.",
    ),
    NewOption(text="What would you say to him?", voices=("Doubt",), key=2, p=0.3, rank=1, source="voice"),
    NewOption(text="Write him a letter.", voices=("Shift",), key=None, p=0.1, rank=2, source="branch"),
)


def decision(asked: bool = False) -> NewDecision:
    return NewDecision(reading={"nll": 3.5, "rank": 0.4}, score=0.4, threshold=0.7, asked=asked)


def go_on(
    store: Store, thread: str, text: str = "It waits for a quiet hour.", author: str = "Echo"
) -> ThoughtRecord:
    """An automatic step from wherever the tip is."""
    return store.commit_thought(
        thread, store.thread(thread).tip, NewThought(author=author, text=text), decision()
    )


def ask(store: Store, thread: str, reason: str = "Two ways.") -> ForkRecord:
    """A fork at the tip."""
    new = NewFork(asked=True, reason=reason, reading={"nll": 9.0}, fork_point={"index": 1})
    return store.open_new_fork(thread, store.thread(thread).tip, new, OPTIONS, decision(asked=True))


def take(store: Store, fork: ForkRecord, index: int = 0) -> ThoughtRecord:
    """Choose an option and apply it."""
    outcome = store.choose(fork.id, "option", option_id=fork.options[index].id)
    assert outcome.won
    said = store.apply(outcome.choice.id)
    assert said is not None
    return said


def begun(store: Store, opening: str = "I keep postponing the call.", *, stride: int = 3) -> ThreadRecord:
    return store.begin("journal", opening, stride=stride)


def texts(store: Store, thread: str) -> list[str]:
    return [thought.text for thought in store.path(thread)]


def branch(path: Path, source: ThreadRecord, thought: str, thread_id: str = "a-branch") -> str:
    """A thread on an old thought: what branching will insert."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "INSERT INTO thread (id, title, mode, tip, forked_from, remaining, stride, arbiter, touched, created_at,"
            " updated_at) SELECT ?, 'branch', mode, ?, ?, 3, 3, arbiter, 0, created_at, updated_at FROM thread"
            " WHERE id = ?",
            (thread_id, thought, thought, source.id),
        )
    return thread_id


@contextmanager
def worker(*arguments: str | Path) -> Iterator[subprocess.Popen[str]]:
    """A real process of tests/store/workers.py; killed at the end if it still runs."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.store.workers", *map(str, arguments)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def tell(process: subprocess.Popen[str], text: str = "go") -> None:
    assert process.stdin is not None
    process.stdin.write(text + "\n")
    process.stdin.flush()


def finish(process: subprocess.Popen[str]) -> str:
    """Everything it still prints; it must end well."""
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0, out
    return out
