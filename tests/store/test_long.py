"""Long threads: ten thousand thoughts, and queries that do not read what they do not need."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import pairwise

import pytest
from sqlalchemy import Engine, event, insert

from orchestrator.store import NewThought, Store, ThreadRecord, facts, tables
from orchestrator.store.records import thought_digest
from tests.store.tools import ask, begun, decision, go_on, take

LENGTH = 10_000


@pytest.fixture(scope="module")
def long_thread(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Store, ThreadRecord]]:
    with Store.open(tmp_path_factory.mktemp("long") / "inner.db") as store:
        thread = begun(store)
        go_on_for_long(store, thread, LENGTH - 1)
        yield store, store.thread(thread.id)


def go_on_for_long(store: Store, thread: ThreadRecord, steps: int) -> None:
    """Many automatic thoughts in one transaction: as rows, since making each by itself is not the point here."""
    tip = store.thought(store.thread(thread.id).tip)
    line = [tip]
    for n in range(steps):
        text = f"thought {n}"
        told = {
            "id": f"{thread.id}-{n}"[-36:],
            "parent_id": line[-1].id,
            "depth": line[-1].depth + 1,
            "seq": 0,
        }
        digest = thought_digest(line[-1].digest, "Echo", text)
        line.append(line[-1].model_copy(update=told | {"author": "Echo", "text": text, "digest": digest}))
    rows = [
        one.model_dump(exclude={"seq"}) | {"human": False, "choice_id": None, "via": "auto"}
        for one in line[1:]
    ]
    with store._write() as pen:
        pen.connection.execute(insert(tables.thought), rows)
        facts.move_tip(pen, thread.id, tip.id, line[-1].id)


def test_a_path_of_ten_thousand_thoughts_is_whole_and_in_order(
    long_thread: tuple[Store, ThreadRecord],
) -> None:
    store, thread = long_thread
    path = store.path(thread.id)
    assert [thought.depth for thought in path] == list(range(1, LENGTH + 1))
    assert all(child.parent_id == parent.id for parent, child in pairwise(path))
    assert path[-1].id == thread.tip
    assert [thought.depth for thought in store.path(thread.id, last=3)] == [LENGTH - 2, LENGTH - 1, LENGTH]
    assert store.threads()[0].n_thoughts == LENGTH
    assert store.integrity() == []


def test_undo_finds_a_decision_far_above(long_thread: tuple[Store, ThreadRecord]) -> None:
    store, _ = long_thread
    thread = begun(store)
    fork = ask(store, thread.id)
    take(store, fork)
    go_on_for_long(store, thread, LENGTH)
    again = store.undo(thread.id)
    assert again is not None
    assert again.reopens == fork.id


@pytest.fixture
def statements(store: Store) -> list[tuple[Engine, str, object]]:
    """Every query a test makes, with its parameters."""
    seen: list[tuple[Engine, str, object]] = []

    def note(engine: Engine) -> Callable[..., None]:
        return lambda connection, cursor, statement, parameters, *_: seen.append(
            (engine, statement, parameters)
        )

    for engine in (store._readers, store._writers):
        event.listen(engine, "before_cursor_execute", note(engine))
    return seen


def test_no_step_of_the_dialogue_reads_a_whole_table_of_facts(
    store: Store, statements: list[tuple[Engine, str, object]]
) -> None:
    thread = begun(store, stride=9)
    go_on(store, thread.id)
    fork = ask(store, thread.id)
    store.open_fork(thread.id)
    store.runnable()
    store.threads()
    store.choose(fork.id, "none")
    store.pending()
    take(store, ask(store, thread.id))
    store.path(thread.id)
    store.path(thread.id, last=2)
    store.tree(thread.id)
    store.decisions(thread.id, last=5)
    store.forks(thread.id)
    store.commit_thought(
        thread.id, store.thread(thread.id).tip, NewThought(author="Echo", text="x"), decision()
    )
    store.undo(thread.id)
    queries_made = [made for made in statements if re.match(r"\s*(SELECT|WITH|UPDATE)", made[1])]
    assert len(queries_made) > 40
    for engine, statement, parameters in queries_made:
        with engine.connect() as connection:
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters).all()
        for *_, step in plan:
            assert not re.match(r"SCAN (thought|fork|option|choice|decision|here|other|tip|root)\b", step), (
                statement,
                plan,
            )
