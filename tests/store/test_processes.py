"""Several real processes on one store, and processes that die in the middle of it."""

from __future__ import annotations

import json
import shutil
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from orchestrator.store import Store
from tests.store.tools import ask, begun, finish, line, tell, texts, worker


def test_two_arbiters_choosing_at_once_on_many_forks_have_one_winner_each(store: Store, path: Path) -> None:
    forks = {ask(store, begun(store).id).id for _ in range(25)}
    with worker("choose", path, "0", "Ann") as ann, worker("choose", path, "1", "Ben") as ben:
        assert [line(ann), line(ben)] == ["ready", "ready"]
        tell(ann)
        tell(ben)
        won_by_ann, won_by_ben = (set(json.loads(finish(process))) for process in (ann, ben))
    assert won_by_ann | won_by_ben == forks
    assert not won_by_ann & won_by_ben
    waiting = store.pending()
    assert {pending.fork.id for pending in waiting} == forks
    for pending in waiting:
        assert pending.choice.arbiter == ("Ann" if pending.fork.id in won_by_ann else "Ben")
        assert store.apply(pending.choice.id) is not None
        assert len(store.path(pending.thread.id)) == 2
    assert store.integrity() == []


def test_every_commit_of_another_process_changes_the_data_version(store: Store, path: Path) -> None:
    ask(store, begun(store).id)
    before = store.data_version()
    assert store.data_version() == before
    with worker("choose", path, "0", "Ann") as ann:
        assert line(ann) == "ready"
        assert store.data_version() == before
        tell(ann)
        finish(ann)
    assert store.data_version() != before


def test_the_stores_own_commits_change_the_data_version_and_reading_does_not(store: Store) -> None:
    seen = [store.data_version()]
    for change in (
        lambda: begun(store),
        lambda: store.set_setting("a", 1),
        lambda: store.set_draft("new", "x"),
    ):
        change()
        seen.append(store.data_version())
        store.threads()
        assert store.data_version() == seen[-1]
    assert len(set(seen)) == 4


def test_a_step_killed_after_any_statement_leaves_nothing_half(path: Path, tmp_path: Path) -> None:
    with Store.open(path) as store:
        thread = begun(store)
    directory = tmp_path / "tries"
    directory.mkdir()
    with worker("die", path, directory) as process:
        lived = int(finish(process))
    assert lived > 10
    assert any(file.stat().st_size > 0 for file in directory.glob("*-journal"))  # half of it was in the file
    for n in range(1, lived + 1):
        with Store.open(directory / f"{n}.db") as store:
            whole = 1 if n == lived else 0
            assert len(store.path(thread.id)) == 1 + whole
            assert len(store.forks(thread.id)) == len(store.decisions(thread.id)) == whole
            assert store.thread(thread.id).remaining == 3 - whole
            assert store.integrity() == []


def test_a_first_start_killed_after_any_statement_is_made_up_for_by_the_next(tmp_path: Path) -> None:
    with worker("create", tmp_path) as process:
        lived = int(finish(process))
    assert lived > 60
    tries = list(tmp_path.glob("*.db"))
    assert len(tries) > 5
    for file in tries:
        with Store.open(file) as store:
            begun(store)
            assert store.integrity() == []


@pytest.mark.parametrize("seconds", [0.05, 0.4])
def test_whatever_was_acknowledged_before_a_kill_is_there_after_it(path: Path, seconds: float) -> None:
    with worker("steps", path) as process:
        lines = [line(process)]
        time.sleep(seconds)
        process.kill()
        rest, _ = process.communicate()
        lines += rest.splitlines()
    with Store.open(path) as store:
        thread = store.threads()[0]
        assert store.integrity() == []
        thoughts = {thought.id for thought in store.tree(thread.id)}
        applied = {thought.choice_id for thought in store.tree(thread.id)}
        forks = {fork.id: fork for fork in store.forks(thread.id)}
        choices = {fork.choice.id for fork in forks.values() if fork.choice}
        known = {"thought": thoughts, "fork": forks.keys(), "choice": choices, "applied": applied}
        for kind, name in (told.split() for told in lines if told.count(" ") == 1):
            assert name in known[kind]
        assert len(store.pending()) <= 1
        for pending in store.pending():
            assert store.apply(pending.choice.id) is not None
        assert store.pending() == []


def test_four_processes_open_an_empty_directory_at_the_same_time(tmp_path: Path) -> None:
    path = tmp_path / "home" / "inner.db"
    with ExitStack() as stack:
        processes = [stack.enter_context(worker("open", path)) for _ in range(4)]
        for process in processes:
            tell(process)
        assert [finish(process).strip() for process in processes] == ["0"] * 4
    with Store.open(path, create=False) as store:
        begun(store)
        assert store.integrity() == []
    assert [file.name for file in path.parent.iterdir() if "backup" in file.name] == []


def test_a_copy_of_the_file_is_a_whole_store(store: Store, path: Path, tmp_path: Path) -> None:
    thread = begun(store)
    copy = shutil.copy(path, tmp_path / "copy.db")
    with Store.open(copy) as other:
        assert texts(other, thread.id) == texts(store, thread.id)
