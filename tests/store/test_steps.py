"""The orchestrator's steps: each one whole, or not at all."""

from __future__ import annotations

import math

import pytest
from pydantic import ValidationError

from orchestrator.errors import BadChoice, EmptyWords, ForkOpen, StoreError, TipMoved, UnknownThread
from orchestrator.store import (
    NewDecision,
    NewFork,
    NewOption,
    NewReply,
    NewRequest,
    NewThought,
    Store,
    signals_of,
)
from orchestrator.store.records import GATE, thought_digest
from tests.store.tools import OPTIONS, SIGNALS, STATISTICS, ask, begun, decision, go_on, take, texts


def counts(store: Store, thread: str) -> tuple[int, int, int, int]:
    return (
        len(store.tree(thread)),
        len(store.forks(thread)),
        len(store.decisions(thread)),
        store.thread(thread).remaining,
    )


class TestGoingOn:
    def test_a_committed_thought_is_the_new_tip_with_all_it_was_made_of(self, store: Store) -> None:
        thread = begun(store, stride=3)
        new = NewThought(
            author="Echo",
            text="Hm.",
            seconds=0.5,
            token_ids=(1, 2),
            model="m1",
            signals={"nll": 2.5, "n_tokens": 2},
        )
        said = store.commit_thought(thread.id, thread.tip, new, decision())
        assert store.thought(said.id) == said
        assert (said.author, said.text, said.human, said.via, said.seconds) == (
            "Echo",
            "Hm.",
            False,
            "auto",
            0.5,
        )
        assert (said.token_ids, said.model, said.signals) == ((1, 2), "m1", {"nll": 2.5, "n_tokens": 2})
        assert (said.parent_id, said.root_id, said.depth) == (thread.tip, thread.tip, 2)
        assert said.digest == thought_digest(store.thought(thread.tip).digest, "Echo", "Hm.")
        now = store.thread(thread.id)
        assert (now.tip, now.remaining) == (said.id, 2)

    def test_the_decision_is_kept_with_every_signal(self, store: Store) -> None:
        thread = begun(store)
        said = go_on(store, thread.id)
        (kept,) = store.decisions(thread.id)
        assert (kept.id, kept.thought_id, kept.mode) == (said.decision_id, thread.tip, "journal")
        assert (kept.reading, kept.score, kept.threshold, kept.asked) == (
            {"nll": 3.5, "rank": 0.4},
            0.4,
            0.7,
            False,
        )

    def test_decisions_come_in_order_and_the_last_ones_alone(self, store: Store) -> None:
        thread = begun(store)
        for n in range(4):
            reading = NewDecision(reading={"n": n}, score=n, threshold=0, asked=False, mode="steps")
            store.commit_thought(
                thread.id, store.thread(thread.id).tip, NewThought(author="Echo", text="x"), reading
            )
        assert [kept.reading["n"] for kept in store.decisions(thread.id)] == [0, 1, 2, 3]
        assert [kept.reading["n"] for kept in store.decisions(thread.id, last=2)] == [2, 3]
        assert {kept.mode for kept in store.decisions(thread.id)} == {"steps"}

    def test_what_remains_never_goes_below_zero(self, store: Store) -> None:
        thread = begun(store, stride=1)
        assert [go_on(store, thread.id).depth for _ in range(3)] == [2, 3, 4]
        assert store.thread(thread.id).remaining == 0

    def test_a_step_made_for_another_tip_writes_nothing(self, store: Store) -> None:
        thread = begun(store)
        go_on(store, thread.id)
        before = counts(store, thread.id)
        late = NewThought(author="Echo", text=OPTIONS[0].text)
        with pytest.raises(TipMoved) as caught:
            store.commit_thought(thread.id, thread.tip, late, decision(), NewFork(asked=False), OPTIONS)
        assert caught.value.retryable
        assert counts(store, thread.id) == before

    def test_a_step_while_a_fork_is_open_is_refused(self, store: Store) -> None:
        thread = begun(store)
        ask(store, thread.id)
        before = counts(store, thread.id)
        with pytest.raises(ForkOpen):
            go_on(store, thread.id)
        with pytest.raises(ForkOpen):
            ask(store, thread.id)
        assert counts(store, thread.id) == before

    def test_a_step_past_a_choice_that_was_not_said_yet_is_refused(self, store: Store) -> None:
        thread = begun(store)
        fork = ask(store, thread.id)
        store.choose(fork.id, "own", text="Mine.")
        for step in (go_on, ask):
            with pytest.raises(TipMoved):
                step(store, thread.id)
        assert texts(store, thread.id) == ["I keep postponing the call."]

    def test_a_thought_without_words_is_refused(self, store: Store) -> None:
        thread = begun(store)
        with pytest.raises(EmptyWords):
            go_on(store, thread.id, " \n")
        assert counts(store, thread.id) == (1, 0, 0, 3)

    def test_numbers_that_are_no_numbers_are_refused_as_signals_and_null_in_readings(
        self, store: Store
    ) -> None:
        thread = begun(store)
        with pytest.raises(ValidationError):
            NewThought(author="Echo", text="x", signals={"nll": math.nan})
        reading = NewDecision(
            reading={"a": math.inf, "b": [math.nan, 1.0]}, score=0, threshold=0, asked=False
        )
        store.commit_thought(thread.id, thread.tip, NewThought(author="Echo", text="x"), reading)
        assert store.decisions(thread.id)[0].reading == {"a": None, "b": [None, 1.0]}

    def test_an_unknown_thread_is_an_error(self, store: Store) -> None:
        with pytest.raises(UnknownThread):
            store.commit_thought("nope", "nope", NewThought(author="Echo", text="x"), None)


class TestTheForkNobodyWasAskedAbout:
    def test_it_is_kept_with_its_options_and_the_gates_choice(self, store: Store) -> None:
        thread = begun(store)
        new = NewThought(author="Doubt", text=OPTIONS[1].text)
        fork = NewFork(asked=False, reading={"x": 1.0})
        said = store.commit_thought(thread.id, thread.tip, new, decision(), fork, OPTIONS)
        (kept,) = store.forks(thread.id)
        assert (kept.asked, kept.attempt, kept.thought_id, kept.decision_id) == (
            False,
            1,
            thread.tip,
            said.decision_id,
        )
        assert len(kept.options) == 3
        assert kept.choice is not None
        assert (kept.choice.id, kept.choice.kind, kept.choice.option_id) == (
            said.choice_id,
            "option",
            kept.options[1].id,
        )
        assert (kept.choice.arbiter, kept.choice.via) == (GATE, "auto")
        assert store.open_fork(thread.id) is None
        assert store.pending() == []
        assert store.integrity() == []

    def test_the_option_can_be_named_where_two_have_the_same_words(self, store: Store) -> None:
        thread = begun(store)
        twins = [
            NewOption(text="Same.", voices=("Echo",), key=1),
            NewOption(text="Same.", voices=("Doubt",), key=2),
        ]
        new = NewThought(author="Doubt", text="Same.")
        said = store.commit_thought(thread.id, thread.tip, new, None, NewFork(asked=False), twins)
        chosen = {option.id: option for option in store.forks(thread.id)[0].options}
        choice = store.forks(thread.id)[0].choice
        assert choice is not None
        assert chosen[choice.option_id or ""].voices == ("Doubt",)
        assert said.decision_id is None
        store.commit_thought(thread.id, said.id, new, None, NewFork(asked=False), twins, chosen=0)
        choice = store.forks(thread.id)[1].choice
        assert choice is not None
        assert choice.option_id == store.forks(thread.id)[1].options[0].id

    @pytest.mark.parametrize("chosen", [None, 3, -1])
    def test_a_thought_that_is_none_of_the_options_is_refused_whole(
        self, store: Store, chosen: int | None
    ) -> None:
        thread = begun(store)
        new = NewThought(author="Echo", text="Something else.")
        with pytest.raises(BadChoice):
            store.commit_thought(
                thread.id, thread.tip, new, decision(), NewFork(asked=False), OPTIONS, chosen=chosen
            )
        assert counts(store, thread.id) == (1, 0, 0, 3)


class TestOpeningAFork:
    def test_it_comes_back_with_everything_an_option_was_given(self, store: Store) -> None:
        thread = begun(store)
        fork = ask(store, thread.id)
        assert store.open_fork(thread.id) == store.fork(fork.id) == fork
        assert (fork.asked, fork.attempt, fork.reason, fork.reopens, fork.choice) == (
            True,
            1,
            "Two ways.",
            None,
            None,
        )
        assert (fork.reading, fork.fork_point) == ({"nll": 9.0}, {"index": 1})
        assert fork.decision_id == store.decisions(thread.id)[0].id
        for new, kept in zip(OPTIONS, fork.options, strict=True):
            told = new.model_dump() | {"signals": signals_of(new.statistics)}
            assert kept.model_dump(exclude={"id", "fork_id"}) == told
            assert kept.fork_id == fork.id

    def test_what_is_shown_is_in_the_order_of_the_keys_and_has_a_digest(self, store: Store) -> None:
        thread = begun(store)
        options = [
            NewOption(text="b", voices=("Echo",), key=2),
            NewOption(text="not shown", voices=("Echo",)),
            NewOption(text="a", voices=("Echo",), key=1),
        ]
        fork = store.open_new_fork(thread.id, thread.tip, NewFork(asked=True), options, None)
        assert [option.text for option in fork.options] == ["b", "not shown", "a"]
        assert [option.text for option in fork.shown] == ["a", "b"]
        assert fork.seen == store.fork(fork.id).seen
        assert len(fork.seen) == 64

    def test_a_fork_without_any_option_is_open_for_own_words(self, store: Store) -> None:
        thread = begun(store)
        fork = store.open_new_fork(thread.id, thread.tip, NewFork(asked=True), [], None)
        assert store.open_fork(thread.id) == fork
        outcome = store.choose(fork.id, "own", text="Then I say it.")
        said = store.apply(outcome.choice.id)
        assert said is not None
        assert said.text == "Then I say it."

    def test_a_fork_made_for_another_tip_writes_nothing(self, store: Store) -> None:
        thread = begun(store)
        go_on(store, thread.id)
        before = counts(store, thread.id)
        with pytest.raises(TipMoved):
            store.open_new_fork(thread.id, thread.tip, NewFork(asked=True), OPTIONS, decision())
        assert counts(store, thread.id) == before

    def test_a_fork_nobody_is_asked_cannot_stand_open(self, store: Store) -> None:
        thread = begun(store)
        with pytest.raises(BadChoice):
            store.open_new_fork(thread.id, thread.tip, NewFork(asked=False), OPTIONS, None)

    @pytest.mark.parametrize(
        "options",
        [
            [NewOption(text=" ", voices=("Echo",))],
            [NewOption(text="x", voices=(" ",))],
        ],
        ids=["no words", "no name"],
    )
    def test_an_option_nobody_could_read_is_refused_and_no_half_fork_stays(
        self, store: Store, options: list[NewOption]
    ) -> None:
        thread = begun(store)
        with pytest.raises(EmptyWords):
            store.open_new_fork(thread.id, thread.tip, NewFork(asked=True), options, decision())
        assert counts(store, thread.id) == (1, 0, 0, 3)

    def test_two_options_under_one_key_are_refused(self, store: Store) -> None:
        thread = begun(store)
        twice = [NewOption(text=text, voices=("Echo",), key=1) for text in "ab"]
        with pytest.raises(StoreError):
            store.open_new_fork(thread.id, thread.tip, NewFork(asked=True), twice, None)
        assert store.forks(thread.id) == []

    def test_forks_can_be_read_from_a_point_on_or_at_one_thought(self, store: Store) -> None:
        thread = begun(store)
        one = ask(store, thread.id)
        take(store, one)
        two = ask(store, thread.id)
        assert [fork.id for fork in store.forks(thread.id)] == [one.id, two.id]
        assert [fork.id for fork in store.forks(thread.id, after=one.seq)] == [two.id]
        assert [fork.id for fork in store.forks(thread.id, at=thread.tip)] == [one.id]


class TestSignals:
    def test_an_options_signals_come_from_its_columns_unless_given(self) -> None:
        assert signals_of(STATISTICS) == SIGNALS
        assert signals_of({}) == {}

    def test_columns_with_holes_or_of_other_shapes_do_no_harm(self) -> None:
        assert signals_of({"logp": [None, -1.0, math.nan], "entropy": "no"}) == {"nll": 1.0, "n_tokens": 1}


class TestRunnable:
    def test_a_thread_goes_on_only_while_something_remains_and_nothing_is_asked(self, store: Store) -> None:
        resting = begun(store, "resting", stride=0)
        asked = begun(store, "asked")
        ask(store, asked.id)
        archived = begun(store, "archived")
        store.archive(archived.id)
        going = begun(store, "going")
        assert [thread.id for thread in store.runnable()] == [going.id]
        store.set_remaining(resting.id, 1)
        store.archive(archived.id, on=False)
        outcome = store.choose(store.forks(asked.id)[0].id, "none")
        assert outcome.won
        assert {thread.id for thread in store.runnable()} == {resting.id, asked.id, archived.id, going.id}

    def test_the_thread_left_alone_longest_comes_first(self, store: Store) -> None:
        one, two = begun(store, "one", stride=9), begun(store, "two", stride=9)
        assert [thread.id for thread in store.runnable()] == [one.id, two.id]
        go_on(store, one.id)
        assert [thread.id for thread in store.runnable()] == [two.id, one.id]


class TestRequests:
    def new(self, store: Store, request: str = "r1") -> NewRequest:
        threads = store.threads()
        thread = store.thread(threads[0].id) if threads else begun(store)
        return NewRequest(
            id=request,
            thread_id=thread.id,
            thought_id=thread.tip,
            voice="Echo",
            role="voice",
            model="m1",
            seed=2**62,
        )

    def test_a_request_is_open_until_its_first_end(self, store: Store) -> None:
        new = self.new(store)
        store.note_requests([new])
        (asked,) = store.open_requests()
        assert (asked.id, asked.voice, asked.seed) == ("r1", "Echo", 2**62)
        store.note_replies([NewReply(request_id="r1", outcome="proposal", text="Hm.")])
        assert store.open_requests() == []
        store.note_replies([NewReply(request_id="r1", outcome="late", text="Later.")])
        assert store.lose_open_requests() == 0

    def test_noting_a_request_twice_changes_nothing(self, store: Store) -> None:
        new = self.new(store)
        store.note_requests([new])
        (first,) = store.open_requests()
        store.note_requests([new.model_copy(update={"voice": "Doubt"})])
        assert store.open_requests() == [first]

    def test_requests_and_replies_of_one_fork_go_in_together(self, store: Store) -> None:
        store.note_requests([self.new(store, name) for name in ("a", "b", "c")])
        assert [asked.id for asked in store.open_requests()] == ["a", "b", "c"]
        ended = [
            NewReply(request_id="a", outcome="proposal"),
            NewReply(request_id="c", outcome="died", code="-9"),
        ]
        store.note_replies(ended)
        assert [asked.id for asked in store.open_requests()] == ["b"]

    def test_after_a_restart_open_requests_are_lost_once(self, store: Store) -> None:
        store.note_requests([self.new(store, name) for name in ("a", "b")])
        store.note_replies([NewReply(request_id="a", outcome="declined", code="empty")])
        assert store.lose_open_requests() == 1
        assert store.lose_open_requests() == 0

    def test_a_reply_to_nothing_is_refused(self, store: Store) -> None:
        with pytest.raises(StoreError):
            store.note_replies([NewReply(request_id="never asked", outcome="proposal")])

    def test_prompts_and_models_are_kept_once_under_their_digest(self, store: Store) -> None:
        digest = store.keep_prompt("You are Echo.")
        assert store.keep_prompt("You are Echo.") == digest
        assert store.keep_prompt("You are Doubt.") != digest
        store.keep_model("d1", "SmolLM2", {"context": 2048})
        store.keep_model("d1", "other name", {})
