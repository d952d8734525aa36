"""Choices: the row is the commit, the first one stands, and each is applied exactly once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import BadChoice, EmptyWords, ForkOpen, TipMoved, TooLong, UnknownChoice, UnknownFork
from orchestrator.store import Store
from tests.store.tools import OPTIONS, SIGNALS, ask, begun, branch, go_on, take, texts


class TestChoosing:
    def test_the_first_choice_stands_and_the_second_gets_it_back(self, store: Store) -> None:
        fork = ask(store, begun(store).id)
        first = store.choose(
            fork.id,
            "option",
            option_id=fork.options[1].id,
            arbiter="Ann",
            via="key",
            seconds=2.5,
            seen=fork.seen,
        )
        assert first.won
        assert (first.choice.arbiter, first.choice.via, first.choice.seconds, first.choice.seen) == (
            "Ann",
            "key",
            2.5,
            fork.seen,
        )
        second = store.choose(fork.id, "none", arbiter="Ben")
        assert not second.won
        assert second.choice == first.choice == store.fork(fork.id).choice

    def test_a_double_click_is_one_choice(self, store: Store) -> None:
        thread = begun(store)
        fork = ask(store, thread.id)
        outcomes = [store.choose(fork.id, "option", option_id=fork.options[0].id) for _ in range(3)]
        assert [outcome.won for outcome in outcomes] == [True, False, False]
        for pending in store.pending():
            store.apply(pending.choice.id)
        assert len(store.path(thread.id)) == 2

    @pytest.mark.parametrize(
        ("kind", "given"),
        [
            ("option", {}),
            ("option", {"option_id": "elsewhere"}),
            ("option", {"option_id": 0, "text": "with words"}),
            ("edit", {"text": "words"}),
            ("edit", {"option_id": "elsewhere", "text": "words"}),
            ("own", {"option_id": 0, "text": "words"}),
            ("none", {"text": "words"}),
            ("none", {"option_id": 0}),
            ("maybe", {}),
        ],
    )
    def test_a_choice_that_does_not_fit_is_refused_and_the_fork_stays_open(
        self, store: Store, kind: Any, given: dict[str, Any]
    ) -> None:
        thread = begun(store)
        fork = ask(store, thread.id)
        if given.get("option_id") == 0:
            given = given | {"option_id": fork.options[0].id}
        with pytest.raises(BadChoice):
            store.choose(fork.id, kind, **given)
        assert store.open_fork(thread.id) == fork

    def test_an_option_of_another_fork_is_refused(self, store: Store) -> None:
        one, two = ask(store, begun(store).id), ask(store, begun(store).id)
        with pytest.raises(BadChoice):
            store.choose(one.id, "option", option_id=two.options[0].id)

    @pytest.mark.parametrize("kind", ["own", "edit"])
    def test_own_words_must_be_words_and_not_a_book(self, store: Store, kind: Any) -> None:
        fork = ask(store, begun(store).id)
        option = fork.options[0].id if kind == "edit" else None
        for text in (None, "", " \n", "\u200b"):
            with pytest.raises(EmptyWords):
                store.choose(fork.id, kind, option_id=option, text=text)
        with pytest.raises(TooLong):
            store.choose(fork.id, kind, option_id=option, text="x" * 20_001)
        assert store.choose(fork.id, kind, option_id=option, text=" x\r\n").choice.text == "x"

    def test_an_unknown_fork_way_or_arbiter_is_refused(self, store: Store) -> None:
        fork = ask(store, begun(store).id)
        with pytest.raises(UnknownFork):
            store.choose("nope", "none")
        with pytest.raises(BadChoice):
            store.choose(fork.id, "none", via="telepathy")  # type: ignore[arg-type]
        with pytest.raises(EmptyWords):
            store.choose(fork.id, "none", arbiter=" ")

    def test_a_fork_that_was_left_cannot_be_answered_any_more(self, store: Store) -> None:
        thread = begun(store)
        take(store, ask(store, thread.id))
        left = ask(store, thread.id)
        store.undo(thread.id)
        with pytest.raises(TipMoved):
            store.choose(left.id, "option", option_id=left.options[0].id)
        assert store.fork(left.id).choice is None

    def test_an_attempt_that_undo_replaced_cannot_be_answered_any_more(self, store: Store) -> None:
        thread = begun(store)
        store.choose(ask(store, thread.id).id, "none")
        second = ask(store, thread.id)
        again = store.undo(thread.id)
        assert again is not None
        with pytest.raises(TipMoved):
            store.choose(second.id, "none")
        assert store.open_fork(thread.id) == again


class TestApplying:
    def test_an_option_becomes_a_thought_with_the_options_tokens(self, store: Store) -> None:
        thread = begun(store)
        fork = ask(store, thread.id)
        outcome = store.choose(fork.id, "option", option_id=fork.options[0].id, via="key", seconds=1.5)
        said = store.apply(outcome.choice.id)
        assert said is not None
        assert (said.author, said.text, said.human, said.edited) == (
            "Echo",
            "Call him on Sunday.",
            False,
            False,
        )
        assert (said.token_ids, said.model, said.signals) == ((11, 12), "m1", SIGNALS)
        assert (said.choice_id, said.via, said.seconds, said.parent_id) == (
            outcome.choice.id,
            "key",
            1.5,
            thread.tip,
        )
        assert said.decision_id == fork.decision_id
        assert store.thread(thread.id).tip == said.id

    def test_an_edit_keeps_its_option_and_its_author_but_no_tokens(self, store: Store) -> None:
        thread = begun(store)
        fork = ask(store, thread.id)
        outcome = store.choose(fork.id, "edit", option_id=fork.options[0].id, text="Call her on Sunday.")
        assert (outcome.choice.option_id, outcome.choice.text) == (fork.options[0].id, "Call her on Sunday.")
        said = store.apply(outcome.choice.id)
        assert said is not None
        assert (said.author, said.text, said.human, said.edited) == (
            "Echo",
            "Call her on Sunday.",
            False,
            True,
        )
        assert (said.token_ids, said.model, said.signals) == ((), "", {})

    def test_own_words_are_said_by_the_one_who_opened(self, store: Store) -> None:
        thread = store.begin("journal", "o", author="Ann")
        outcome = store.choose(ask(store, thread.id).id, "own", text="No, I write to him.", arbiter="page 2")
        said = store.apply(outcome.choice.id)
        assert said is not None
        assert (said.author, said.text, said.human, said.edited) == (
            "Ann",
            "No, I write to him.",
            True,
            False,
        )
        assert said.token_ids == ()

    def test_a_choice_is_applied_exactly_once(self, store: Store) -> None:
        thread = begun(store)
        fork = ask(store, thread.id)
        choice = store.choose(fork.id, "option", option_id=fork.options[0].id).choice
        assert store.apply(choice.id) is not None
        assert store.apply(choice.id) is None
        assert len(store.tree(thread.id)) == 2
        assert store.integrity() == []

    def test_refusing_all_says_nothing(self, store: Store) -> None:
        thread = begun(store)
        choice = store.choose(ask(store, thread.id).id, "none").choice
        assert store.apply(choice.id) is None
        assert store.thread(thread.id).tip == thread.tip

    def test_a_persons_choice_gives_the_thread_its_stride_again(self, store: Store) -> None:
        thread = begun(store, stride=4)
        store.set_remaining(thread.id, 1)
        take(store, ask(store, thread.id))
        assert store.thread(thread.id).remaining == 4

    def test_an_automatic_choice_uses_up_one_of_what_remains(self, store: Store) -> None:
        thread = begun(store, stride=4)
        fork = ask(store, thread.id)
        choice = store.choose(
            fork.id, "option", option_id=fork.options[0].id, arbiter="gate", via="auto"
        ).choice
        assert store.apply(choice.id) is not None
        assert store.thread(thread.id).remaining == 3

    def test_an_unknown_choice_is_an_error(self, store: Store) -> None:
        with pytest.raises(UnknownChoice):
            store.apply("nope")

    def test_two_threads_with_one_tip_have_forks_of_their_own(self, store: Store, path: Path) -> None:
        thread = begun(store)
        other = branch(path, thread, thread.tip)
        here, there = ask(store, thread.id), ask(store, other)
        assert (here.attempt, there.attempt) == (1, 1)
        take(store, here)
        assert store.open_fork(other) == there
        take(store, there, 1)
        assert texts(store, thread.id)[1:] == [OPTIONS[0].text]
        assert texts(store, other)[1:] == [OPTIONS[1].text]


class TestPending:
    def test_a_choice_is_pending_until_it_is_applied(self, store: Store) -> None:
        thread = begun(store)
        fork = ask(store, thread.id)
        assert store.pending() == []
        choice = store.choose(fork.id, "option", option_id=fork.options[0].id).choice
        (waiting,) = store.pending()
        assert (waiting.choice, waiting.fork.id, waiting.thread.id) == (choice, fork.id, thread.id)
        store.apply(choice.id)
        assert store.pending() == []

    def test_a_refusal_is_pending_until_another_attempt_is_there(self, store: Store) -> None:
        thread = begun(store)
        fork = ask(store, thread.id)
        choice = store.choose(fork.id, "none").choice
        assert store.apply(choice.id) is None
        assert [waiting.choice.id for waiting in store.pending()] == [choice.id]
        assert ask(store, thread.id).attempt == 2
        assert store.pending() == []

    def test_a_refusal_is_done_with_when_the_thread_goes_on_without_a_fork(self, store: Store) -> None:
        thread = begun(store)
        store.choose(ask(store, thread.id).id, "none")
        go_on(store, thread.id)
        assert store.pending() == []
        assert store.integrity() == []

    def test_choices_of_several_threads_come_in_the_order_they_were_made(self, store: Store) -> None:
        forks = [ask(store, begun(store).id) for _ in range(4)]
        for fork in reversed(forks):
            store.choose(fork.id, "own", text="x")
        assert [waiting.fork.id for waiting in store.pending()] == [fork.id for fork in reversed(forks)]

    def test_recovery_is_the_query_run_until_it_is_empty(self, path: Path) -> None:
        with Store.open(path) as store:
            thread = begun(store)
            fork = ask(store, thread.id)
            store.choose(fork.id, "option", option_id=fork.options[0].id)
        for _ in range(2):  # the second start finds nothing to do
            with Store.open(path) as store:
                for waiting in store.pending():
                    store.apply(waiting.choice.id)
                assert store.pending() == []
                assert len(store.tree(thread.id)) == 2


class TestSaying:
    def test_own_words_are_the_new_tip_and_set_the_thread_going(self, store: Store) -> None:
        thread = begun(store, stride=5)
        store.set_remaining(thread.id, 0)
        said = store.say(thread.id, " And now this. ", expected_tip=thread.tip, author="Ann")
        assert (said.text, said.author, said.human, said.via, said.choice_id) == (
            "And now this.",
            "Ann",
            True,
            "text",
            None,
        )
        now = store.thread(thread.id)
        assert (now.tip, now.remaining) == (said.id, 5)

    def test_what_remains_after_own_words_can_be_given(self, store: Store) -> None:
        thread = begun(store, stride=5)
        store.say(thread.id, "x", expected_tip=thread.tip, remaining=0)
        assert store.thread(thread.id).remaining == 0

    def test_words_meant_for_another_tip_are_not_said(self, store: Store) -> None:
        thread = begun(store)
        go_on(store, thread.id)
        with pytest.raises(TipMoved):
            store.say(thread.id, "x", expected_tip=thread.tip)
        assert len(store.tree(thread.id)) == 2

    def test_where_a_fork_is_open_own_words_are_its_answer(self, store: Store) -> None:
        thread = begun(store)
        ask(store, thread.id)
        with pytest.raises(ForkOpen):
            store.say(thread.id, "x", expected_tip=thread.tip)

    @pytest.mark.parametrize("text", ["", "  "])
    def test_nothing_is_not_said(self, store: Store, text: str) -> None:
        thread = begun(store)
        with pytest.raises(EmptyWords):
            store.say(thread.id, text, expected_tip=thread.tip)
