"""Undo: the last decision of a person is taken back, as often as there is one. Nothing is deleted."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.errors import NothingToUndo
from orchestrator.store import ForkRecord, NewFork, NewThought, Store
from tests.store.tools import OPTIONS, ask, begun, branch, decision, go_on, take, texts


def reopened(store: Store, thread: str) -> ForkRecord:
    fork = store.undo(thread)
    assert fork is not None
    assert store.open_fork(thread) == fork
    return fork


def test_a_choice_is_taken_back_and_its_fork_is_open_again_with_the_same_options(store: Store) -> None:
    thread = begun(store)
    fork = ask(store, thread.id)
    take(store, fork)
    again = reopened(store, thread.id)
    assert (again.attempt, again.reopens, again.thought_id, again.asked) == (
        2,
        fork.id,
        fork.thought_id,
        True,
    )
    assert (again.reason, again.reading, again.fork_point) == (fork.reason, fork.reading, fork.fork_point)
    same = [option.model_dump(exclude={"id", "fork_id"}) for option in fork.options]
    assert [option.model_dump(exclude={"id", "fork_id"}) for option in again.options] == same
    assert texts(store, thread.id) == ["I keep postponing the call."]


def test_nothing_is_deleted(store: Store) -> None:
    thread = begun(store)
    fork = ask(store, thread.id)
    said = take(store, fork)
    go_on(store, thread.id, "later")
    before = store.tree(thread.id)
    store.undo(thread.id)
    assert store.tree(thread.id) == before
    assert store.thought(said.id).choice_id is not None
    assert fork.id in {kept.id for kept in store.forks(thread.id)}
    assert store.integrity() == []


def test_automatic_thoughts_after_the_choice_go_with_it(store: Store) -> None:
    thread = begun(store)
    go_on(store, thread.id, "before")
    take(store, ask(store, thread.id))
    for n in range(3):
        go_on(store, thread.id, f"after {n}")
    reopened(store, thread.id)
    assert texts(store, thread.id) == ["I keep postponing the call.", "before"]


def test_undoing_twice_goes_back_two_decisions(store: Store) -> None:
    thread = begun(store)
    one = ask(store, thread.id)
    take(store, one)
    go_on(store, thread.id)
    two = ask(store, thread.id)
    take(store, two, 1)
    assert reopened(store, thread.id).reopens == two.id
    assert reopened(store, thread.id).reopens == one.id
    with pytest.raises(NothingToUndo):
        store.undo(thread.id)


def test_an_open_fork_at_the_tip_is_simply_left(store: Store) -> None:
    thread = begun(store)
    first = ask(store, thread.id)
    take(store, first)
    left = ask(store, thread.id)
    assert reopened(store, thread.id).reopens == first.id
    assert store.fork(left.id).choice is None


def test_another_choice_after_undo_can_be_undone_too(store: Store) -> None:
    thread = begun(store)
    take(store, ask(store, thread.id), 0)
    take(store, reopened(store, thread.id), 1)
    assert texts(store, thread.id)[-1] == OPTIONS[1].text
    third = reopened(store, thread.id)
    assert third.attempt == 3
    take(store, third, 2)
    assert texts(store, thread.id)[-1] == OPTIONS[2].text
    assert len(store.tree(thread.id)) == 4


def test_a_choice_made_at_a_reopened_fork_takes_the_decision_before_it_next(store: Store) -> None:
    thread = begun(store)
    one = ask(store, thread.id)
    take(store, one)
    two = ask(store, thread.id)
    take(store, two)
    take(store, reopened(store, thread.id), 1)
    second = reopened(store, thread.id)
    assert second.thought_id == two.thought_id
    assert reopened(store, thread.id).reopens == one.id


def test_own_words_at_a_fork_are_a_choice(store: Store) -> None:
    thread = begun(store)
    fork = ask(store, thread.id)
    store.apply(store.choose(fork.id, "own", text="Mine.").choice.id)
    assert reopened(store, thread.id).reopens == fork.id


def test_own_words_outside_a_fork_are_taken_back_without_one(store: Store) -> None:
    thread = begun(store)
    go_on(store, thread.id, "before")
    store.say(thread.id, "Mine.", expected_tip=store.thread(thread.id).tip)
    go_on(store, thread.id, "after")
    assert store.undo(thread.id) is None
    assert texts(store, thread.id) == ["I keep postponing the call.", "before"]
    assert store.open_fork(thread.id) is None
    with pytest.raises(NothingToUndo):
        store.undo(thread.id)


def test_the_opening_stays(store: Store) -> None:
    thread = begun(store)
    with pytest.raises(NothingToUndo):
        store.undo(thread.id)
    go_on(store, thread.id)
    with pytest.raises(NothingToUndo) as caught:
        store.undo(thread.id)
    assert "opening thought stays" in caught.value.hint
    assert len(store.path(thread.id)) == 2


def test_what_remains_is_left_as_it_is(store: Store) -> None:
    thread = begun(store, stride=5)
    take(store, ask(store, thread.id))
    go_on(store, thread.id)
    store.undo(thread.id)
    assert store.thread(thread.id).remaining == 4
    assert store.runnable() == []


def test_a_choice_that_was_not_said_yet_is_the_one_taken_back(store: Store) -> None:
    thread = begun(store)
    fork = ask(store, thread.id)
    choice = store.choose(fork.id, "option", option_id=fork.options[0].id).choice
    again = reopened(store, thread.id)
    assert again.reopens == fork.id
    assert store.pending() == []
    assert store.apply(choice.id) is None
    assert store.open_fork(thread.id) == again
    assert store.integrity() == []


class TestRefusals:
    def test_refusing_all_can_be_taken_back_before_the_next_draw(self, store: Store) -> None:
        thread = begun(store)
        fork = ask(store, thread.id)
        store.choose(fork.id, "none")
        assert reopened(store, thread.id).reopens == fork.id
        assert store.pending() == []

    def test_refusing_all_can_be_taken_back_after_the_next_draw(self, store: Store) -> None:
        thread = begun(store)
        fork = ask(store, thread.id)
        store.choose(fork.id, "none")
        ask(store, thread.id, "another draw")
        again = reopened(store, thread.id)
        assert (again.attempt, again.reopens) == (3, fork.id)

    def test_refusals_are_taken_back_one_by_one_and_then_what_was_before(self, store: Store) -> None:
        thread = begun(store)
        before = ask(store, thread.id, "before")
        take(store, before)
        refused = []
        for n in range(3):
            refused.append(ask(store, thread.id, f"draw {n}"))
            store.choose(refused[-1].id, "none")
        ask(store, thread.id, "draw 3")
        for fork in reversed(refused):
            assert reopened(store, thread.id).reopens == fork.id
        assert reopened(store, thread.id).reopens == before.id
        with pytest.raises(NothingToUndo):
            store.undo(thread.id)

    def test_a_choice_after_a_refusal_is_taken_back_first(self, store: Store) -> None:
        thread = begun(store)
        refused = ask(store, thread.id)
        store.choose(refused.id, "none")
        chosen = ask(store, thread.id)
        take(store, chosen)
        assert reopened(store, thread.id).reopens == chosen.id
        assert reopened(store, thread.id).reopens == refused.id

    def test_refusing_a_reopened_fork_can_be_taken_back_again(self, store: Store) -> None:
        thread = begun(store)
        fork = ask(store, thread.id)
        store.choose(fork.id, "none")
        again = reopened(store, thread.id)
        store.choose(again.id, "none")
        third = reopened(store, thread.id)
        assert third.reopens == again.id
        with pytest.raises(NothingToUndo):
            store.undo(thread.id)

    def test_a_refusal_after_which_the_thread_went_on_by_itself_is_found(self, store: Store) -> None:
        thread = begun(store)
        fork = ask(store, thread.id)
        store.choose(fork.id, "none")
        unasked = NewThought(author="Echo", text=OPTIONS[0].text)
        store.commit_thought(thread.id, thread.tip, unasked, decision(), NewFork(asked=False), OPTIONS)
        go_on(store, thread.id)
        assert reopened(store, thread.id).reopens == fork.id
        assert texts(store, thread.id) == ["I keep postponing the call."]


class TestWithoutAPerson:
    def test_where_only_the_gate_chose_the_last_asked_fork_is_opened_again(self, store: Store) -> None:
        thread = begun(store)
        asked = ask(store, thread.id)
        choice = store.choose(
            asked.id, "option", option_id=asked.options[0].id, arbiter="gate", via="auto"
        ).choice
        store.apply(choice.id)
        unasked = NewThought(author="Echo", text=OPTIONS[0].text)
        tip = store.thread(thread.id).tip
        store.commit_thought(thread.id, tip, unasked, decision(), NewFork(asked=False), OPTIONS)
        assert reopened(store, thread.id).reopens == asked.id

    def test_a_persons_decision_goes_before_a_later_one_of_the_gate(self, store: Store) -> None:
        thread = begun(store)
        mine = ask(store, thread.id)
        take(store, mine)
        other = ask(store, thread.id)
        choice = store.choose(
            other.id, "option", option_id=other.options[0].id, arbiter="gate", via="auto"
        ).choice
        store.apply(choice.id)
        assert reopened(store, thread.id).reopens == mine.id


def test_a_branch_does_not_undo_what_was_decided_before_it(store: Store, path: Path) -> None:
    thread = begun(store)
    said = take(store, ask(store, thread.id))
    other = branch(path, thread, said.id)
    with pytest.raises(NothingToUndo):
        store.undo(other)
    own = ask(store, other)
    take(store, own)
    assert reopened(store, other).reopens == own.id
    assert store.thread(thread.id).tip == said.id
