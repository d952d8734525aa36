"""Threads as a person meets them: begun, listed, found, renamed, archived, read."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from orchestrator.errors import (
    BadChoice,
    BadOpening,
    EmptyWords,
    StoreError,
    TooLong,
    UnknownThought,
    UnknownThread,
)
from orchestrator.store import Store
from orchestrator.store.records import thought_digest
from tests.store.tools import ask, begun, branch, go_on, take, texts


class TestBeginning:
    def test_the_opening_is_the_first_thought_and_the_tip(self, store: Store) -> None:
        thread = store.begin("journal", "  I keep postponing the call.\r\n", stride=3)
        (opening,) = store.path(thread.id)
        assert (opening.id, opening.parent_id, opening.root_id, opening.depth) == (
            thread.tip,
            None,
            thread.tip,
            1,
        )
        assert (opening.text, opening.author, opening.human, opening.via) == (
            "I keep postponing the call.",
            "Me",
            True,
            "text",
        )
        assert opening.digest == thought_digest("", "Me", opening.text)

    def test_the_title_is_the_openings_first_words_unless_given(self, store: Store) -> None:
        assert store.begin("steps", "Ann has 3 boxes.\nHow many?").title == "Ann has 3 boxes. How many?"
        long = store.begin("steps", "word " * 50).title
        assert len(long) <= 60
        assert long.endswith("word…")
        assert store.begin("steps", "Ann", title=" Boxes ").title == "Boxes"

    def test_what_remains_is_the_stride_unless_given(self, store: Store) -> None:
        assert store.begin("journal", "a", stride=4).remaining == 4
        assert store.begin("journal", "a", stride=4, remaining=0).remaining == 0
        assert store.begin("journal", "a").remaining == 0

    @pytest.mark.parametrize("opening", ["", "  \n", "\0", "\u200b"])
    def test_an_opening_without_words_is_refused_and_nothing_begins(self, store: Store, opening: str) -> None:
        with pytest.raises(BadOpening):
            store.begin("journal", opening)
        assert store.threads() == []

    def test_a_paste_of_a_megabyte_is_refused_with_the_limit(self, store: Store) -> None:
        with pytest.raises(TooLong, match=r"1,000,000 characters long; the limit is 20,000"):
            store.begin("journal", "x" * 1_000_000)
        assert store.begin("journal", "x" * 20_000).title

    def test_hostile_text_comes_back_as_it_was(self, store: Store) -> None:
        text = "[Doubt] <|im_end|> <script>alert(1)</script> \u202e rtl '; DROP TABLE thought; --"
        thread = store.begin("journal", text)
        assert texts(store, thread.id) == [text]

    def test_lone_surrogates_and_nul_do_not_reach_the_file(self, store: Store) -> None:
        thread = store.begin("journal", "a\ud800b\0c", author="M\udfffe")
        (opening,) = store.path(thread.id)
        assert (opening.text, opening.author) == ("a\ufffdbc", "M\ufffde")
        assert store.integrity() == []

    def test_a_blank_name_or_mode_and_an_unknown_arbiter_are_refused(self, store: Store) -> None:
        with pytest.raises(EmptyWords):
            store.begin(" ", "a")
        with pytest.raises(EmptyWords):
            store.begin("journal", "a", author="")
        with pytest.raises(EmptyWords):
            store.begin("journal", "a", title=" ")
        with pytest.raises(BadChoice, match="person, auto"):
            store.begin("journal", "a", arbiter="oracle")  # type: ignore[arg-type]
        assert store.threads() == []


class TestFinding:
    def test_a_thread_is_found_by_its_id_in_any_case_and_by_a_beginning_of_it(self, store: Store) -> None:
        thread = begun(store)
        for name in (thread.id, thread.id.upper(), f" {thread.id} ", thread.id[:13], thread.id[:-1]):
            assert store.thread(name) == thread

    def test_a_beginning_that_two_threads_share_lists_both(self, store: Store) -> None:
        one, two = begun(store, "first opening"), begun(store, "second opening")
        shared = next(i for i in range(36) if one.id[i] != two.id[i])
        with pytest.raises(UnknownThread) as caught:
            store.thread(one.id[:shared])
        assert one.id in caught.value.hint
        assert two.id in caught.value.hint

    def test_an_unknown_thread_lists_those_that_are_there(self, store: Store) -> None:
        with pytest.raises(UnknownThread, match="no thread yet"):
            store.thread("nope")
        thread = begun(store)
        for name in ("nope", "", "%", "_", "\ud800", thread.id + "0"):
            with pytest.raises(UnknownThread) as caught:
                store.thread(name)
            assert thread.id in caught.value.hint

    @pytest.mark.parametrize("method", ["path", "tree", "open_fork", "forks", "decisions", "undo"])
    def test_reading_an_unknown_thread_is_an_error_not_an_empty_answer(
        self, store: Store, method: str
    ) -> None:
        with pytest.raises(UnknownThread):
            getattr(store, method)("nope")

    def test_an_unknown_thought_is_an_error(self, store: Store) -> None:
        with pytest.raises(UnknownThought):
            store.thought("nope")


class TestTheList:
    def test_the_last_active_thread_comes_first(self, store: Store) -> None:
        one, two, three = (begun(store, name) for name in ("one", "two", "three"))
        assert [line.id for line in store.threads()] == [three.id, two.id, one.id]
        go_on(store, one.id)
        ask(store, two.id)
        assert [line.id for line in store.threads()] == [two.id, one.id, three.id]
        assert [line.id for line in store.threads(limit=1)] == [two.id]

    def test_a_line_tells_opening_last_thought_length_and_open_fork(self, store: Store) -> None:
        thread = begun(store, "The opening.")
        go_on(store, thread.id, "The last.")
        (line,) = store.threads()
        assert (line.opening, line.last, line.n_thoughts, line.open_fork) == (
            "The opening.",
            "The last.",
            2,
            False,
        )
        fork = ask(store, thread.id)
        assert store.threads()[0].open_fork
        take(store, fork)
        (line,) = store.threads()
        assert (line.n_thoughts, line.open_fork) == (3, False)

    def test_the_clock_going_back_does_not_change_any_order(self, path: Path) -> None:
        start = datetime(2026, 5, 1, 12, tzinfo=UTC)
        times = (start - timedelta(hours=n) for n in range(1000))
        with Store.open(path, clock=lambda: next(times)) as store:
            one, two = begun(store, "one"), begun(store, "two")
            for n in range(3):
                go_on(store, one.id, f"thought {n}")
            assert [line.id for line in store.threads()] == [one.id, two.id]
            assert texts(store, one.id) == ["one", "thought 0", "thought 1", "thought 2"]
            assert [thought.text for thought in store.tree(one.id)] == texts(store, one.id)
            times_told = [thought.created_at for thought in store.path(one.id)]
            assert times_told == sorted(times_told, reverse=True)

    def test_an_archived_thread_leaves_the_list_and_comes_back_whole(self, store: Store) -> None:
        thread = begun(store)
        go_on(store, thread.id)
        assert store.archive(thread.id).archived_at is not None
        assert store.threads() == []
        assert [line.id for line in store.threads(archived=True)] == [thread.id]
        assert len(store.path(thread.id)) == 2
        assert store.archive(thread.id, on=False).archived_at is None
        assert [line.id for line in store.threads()] == [thread.id]


class TestChangingAThread:
    def test_a_new_title_is_cleaned_and_kept(self, store: Store) -> None:
        thread = begun(store)
        assert store.rename(thread.id, "  The call\n").title == "The call"
        assert store.thread(thread.id).title == "The call"
        with pytest.raises(EmptyWords):
            store.rename(thread.id, " ")
        with pytest.raises(TooLong):
            store.rename(thread.id, "x" * 201)
        assert store.thread(thread.id).title == "The call"

    def test_what_remains_the_stride_and_the_arbiter_can_be_set(self, store: Store) -> None:
        thread = begun(store)
        assert store.set_remaining(thread.id, 7).remaining == 7
        assert store.set_remaining(thread.id, -1).remaining == 0
        assert store.set_stride(thread.id, 9).stride == 9
        assert store.set_arbiter(thread.id, "auto").arbiter == "auto"
        with pytest.raises(BadChoice):
            store.set_arbiter(thread.id, "nobody")  # type: ignore[arg-type]

    @pytest.mark.parametrize("method", ["rename", "set_remaining", "set_stride", "set_arbiter"])
    def test_an_unknown_thread_cannot_be_changed(self, store: Store, method: str) -> None:
        value = {"rename": "x", "set_arbiter": "auto"}.get(method, 1)
        with pytest.raises(UnknownThread):
            getattr(store, method)("nope", value)


class TestReading:
    def test_the_path_is_one_line_and_the_tree_all_branches(self, store: Store) -> None:
        thread = begun(store, "o")
        fork = ask(store, thread.id)
        take(store, fork, 0)
        again = store.undo(thread.id)
        assert again is not None
        take(store, again, 1)
        assert texts(store, thread.id) == ["o", "What would you say to him?"]
        told = store.tree(thread.id)
        assert [thought.text for thought in told] == [
            "o",
            "Call him on Sunday.",
            "What would you say to him?",
        ]
        assert [thought.seq for thought in told] == sorted(thought.seq for thought in told)
        assert [thought.text for thought in store.tree(thread.id, after=told[0].seq)] == [
            "Call him on Sunday.",
            "What would you say to him?",
        ]

    def test_the_end_of_a_path_can_be_read_alone(self, store: Store) -> None:
        thread = begun(store, "o")
        for n in range(5):
            go_on(store, thread.id, f"{n}")
        for last in range(1, 9):
            assert [thought.text for thought in store.path(thread.id, last=last)] == ["o", *"01234"][-last:]

    def test_two_threads_do_not_see_each_other(self, store: Store) -> None:
        one, two = begun(store, "one"), begun(store, "two")
        go_on(store, one.id, "more of one")
        assert texts(store, two.id) == ["two"]
        assert [thought.text for thought in store.tree(two.id)] == ["two"]

    def test_a_branch_shares_the_thoughts_before_it(self, store: Store, path: Path) -> None:
        thread = begun(store, "o")
        shared = go_on(store, thread.id, "shared")
        go_on(store, thread.id, "main only")
        other = branch(path, thread, shared.id)
        go_on(store, other, "branch only")
        assert texts(store, other) == ["o", "shared", "branch only"]
        assert texts(store, thread.id) == ["o", "shared", "main only"]
        assert len(store.tree(other)) == len(store.tree(thread.id)) == 4
        assert store.thread(other).forked_from == shared.id

    def test_times_are_aware_and_utc(self, store: Store) -> None:
        thread = begun(store)
        for time in (thread.created_at, thread.updated_at, store.path(thread.id)[0].created_at):
            assert time.utcoffset() == timedelta(0)

    def test_a_clock_without_zone_is_refused(self, path: Path) -> None:
        with (
            Store.open(path, clock=lambda: datetime(2026, 1, 1)) as store,
            pytest.raises(StoreError, match="zone"),
        ):
            begun(store)


class TestSettingsAndDrafts:
    def test_a_setting_is_any_json_value(self, store: Store) -> None:
        assert store.setting("theme") is None
        for value in ("dark", 1, 1.5, True, None, [1, "a"], {"a": {"b": None}}):
            store.set_setting("theme", value)
            assert store.setting("theme") == value

    def test_a_draft_is_kept_as_typed_until_it_is_emptied(self, store: Store) -> None:
        thread = begun(store)
        assert store.draft(thread.id) == ""
        store.set_draft(thread.id, "  half a ")
        store.set_draft(thread.id, "  half a thought ")
        assert store.draft(thread.id) == "  half a thought "
        store.set_draft(thread.id, "")
        assert store.draft(thread.id) == ""

    def test_a_draft_before_any_thread_has_a_name_of_its_own(self, store: Store) -> None:
        store.set_draft("new", "not begun")
        assert store.draft("new") == "not begun"

    def test_a_draft_over_the_limit_is_refused_and_the_old_one_stays(self, store: Store) -> None:
        store.set_draft("new", "short")
        with pytest.raises(TooLong):
            store.set_draft("new", "x" * 20_001)
        assert store.draft("new") == "short"
