"""A sitting over a real store with a scripted dialogue: what a person does at a fork, and how it ends."""

from __future__ import annotations

import asyncio
import io
import json
import os
from collections.abc import Sequence
from typing import Any

from orchestrator.jsonlines import JsonView
from orchestrator.keyboard import Keyboard
from orchestrator.session import Asking, Ending, Plan, Resting, Session, Situation
from orchestrator.store import Store, ThreadRecord
from tests.cli.script import ASKED, SIGNALS, Dialogue, Part, Say

TERMINAL = Plan("terminal")
AUTO = Plan("auto")


class Person(JsonView):
    """Types the next of its answers whenever it is asked, at a fork or at rest; then the input ends."""

    def __init__(self, answers: Sequence[str], pipe: int) -> None:
        self.out = io.StringIO()
        super().__init__(self.out)
        self._answers = list(answers)
        self._pipe = pipe

    def situation(self, situation: Situation) -> None:
        if not isinstance(situation, Asking | Resting):
            return
        if self._answers:
            os.write(self._pipe, f"{self._answers.pop(0)}\n".encode())
        elif self._pipe >= 0:
            os.close(self._pipe)
            self._pipe = -1

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.getvalue().splitlines()]


async def sit(
    store: Store,
    thread: ThreadRecord,
    script: Sequence[Say | Part],
    plan: Plan = TERMINAL,
    answers: Sequence[str] = (),
) -> tuple[list[dict[str, Any]], Ending]:
    """A whole sitting; its events and its ending."""
    reading, writing = os.pipe()
    with os.fdopen(reading, encoding="utf-8") as stream:
        person = Person(answers, writing)
        with Keyboard(stream) as keyboard:
            session = Session(store, thread.id, person, plan, fallback=5, keyboard=keyboard)
            async with asyncio.timeout(20), Dialogue(store, script):
                why = await session.run()
            ending = session.ending(why)
            person.end(ending)
    if person._pipe >= 0:
        os.close(writing)
    return person.events, ending


def begin(store: Store, *, remaining: int = 5, arbiter: str = "person") -> ThreadRecord:
    return store.begin("journal", "opening", stride=5, remaining=remaining, arbiter=arbiter)  # type: ignore[arg-type]


def of(events: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [event for event in events if event["event"] == kind]


def texts(store: Store, thread: ThreadRecord) -> list[str]:
    return [thought.text for thought in store.path(thread.id)][1:]


FIRST, SECOND = ASKED.options[0][1], ASKED.options[1][1]


class TestAtAFork:
    async def test_a_digit_takes_that_option(self, store: Store) -> None:
        thread = begin(store)
        events, _ = await sit(
            store, thread, [Say("Echo", "one"), ASKED, Say("Shift", "three")], answers=["2"]
        )
        assert texts(store, thread) == ["one", SECOND, "three"]
        fork, choice = of(events, "fork")[0], of(events, "choice")[0]
        assert [option["key"] for option in fork["options"]] == [1, 2]
        assert fork["options"][0]["voices"] == ["Doubt", "Echo"]
        assert (choice["fork"], choice["option"], choice["kind"], choice["via"]) == (
            fork["id"],
            2,
            "option",
            "api",
        )
        assert [event["event"] for event in events] == [
            "thought",
            "fork",
            "choice",
            "thought",
            "thought",
            "end",
        ]

    async def test_what_was_shown_is_kept_with_the_choice(self, store: Store) -> None:
        thread = begin(store)
        await sit(store, thread, [ASKED], answers=["1"])
        fork = store.forks(thread.id)[0]
        assert fork.choice is not None
        assert fork.choice.seen == fork.seen
        assert fork.choice.arbiter == "me"

    async def test_an_edit_is_taken_with_its_words(self, store: Store) -> None:
        thread = begin(store)
        events, _ = await sit(store, thread, [ASKED], answers=["e 1 Was it the money?"])
        assert of(events, "thought")[0]["edited"] is True
        assert texts(store, thread) == ["Was it the money?"]
        assert of(events, "choice")[0]["kind"] == "edit"

    async def test_an_edit_that_changes_nothing_is_the_option_itself(self, store: Store) -> None:
        thread = begin(store)
        events, _ = await sit(store, thread, [ASKED], answers=[f"e 1 {FIRST} "])
        assert of(events, "choice")[0]["kind"] == "option"

    async def test_other_words_are_one_s_own(self, store: Store) -> None:
        thread = begin(store)
        events, _ = await sit(store, thread, [ASKED], answers=["no, it was the money"])
        assert of(events, "thought")[0]["author"] == "Me"
        assert of(events, "thought")[0]["human"] is True
        assert texts(store, thread) == ["no, it was the money"]

    async def test_refusing_all_brings_another_draw(self, store: Store) -> None:
        thread = begin(store)
        events, _ = await sit(store, thread, [ASKED], answers=["x", "1"])
        assert [fork["attempt"] for fork in of(events, "fork")] == [1, 2]
        assert texts(store, thread) == ["Another draw, the 2."]

    async def test_undo_opens_my_last_decision_again(self, store: Store) -> None:
        thread = begin(store)
        script = [ASKED, Say("Echo", "then"), Part((((("Echo",), "later", 0.5)),))]
        events, _ = await sit(store, thread, script, answers=["1", "z", "2"])
        assert texts(store, thread) == [SECOND]
        assert of(events, "fork")[2]["reopens"] == of(events, "fork")[0]["id"]
        assert len(store.tree(thread.id)) == 4

    async def test_go_on_takes_the_first(self, store: Store) -> None:
        thread = begin(store)
        await sit(store, thread, [ASKED], answers=["g"])
        assert texts(store, thread) == [FIRST]

    async def test_stop_leaves_it_open(self, store: Store) -> None:
        thread = begin(store)
        _, ending = await sit(store, thread, [ASKED], answers=["s"])
        assert ending.why == "stopped"
        assert store.open_fork(thread.id) is not None

    async def test_nonsense_changes_nothing_and_is_answered(self, store: Store) -> None:
        thread = begin(store)
        events, _ = await sit(store, thread, [ASKED], answers=["7\ne 1\n?\n2"])
        notes = [note["text"] for note in of(events, "note")]
        assert "no option 7" in notes[0]
        assert "e 1 YOUR WORDS" in notes[1]
        assert "1-9 choose" in notes[2]
        assert texts(store, thread) == [SECOND]

    async def test_one_who_was_a_moment_later_is_told_so(self, store: Store) -> None:
        thread = begin(store)
        store_choose = store.choose

        def ana_first(fork_id: str, *args: Any, **more: Any) -> Any:
            store_choose(fork_id, "own", text="Ana's words", arbiter="Ana")
            return store_choose(fork_id, *args, **more)

        store.choose = ana_first  # type: ignore[method-assign]
        events, _ = await sit(store, thread, [ASKED], answers=["1"])
        assert "Ana was a moment earlier" in of(events, "note")[0]["text"]
        assert texts(store, thread) == ["Ana's words"]


class TestBetweenForks:
    async def test_own_words_join_the_thread_and_it_goes_on(self, store: Store) -> None:
        thread = begin(store, remaining=0)
        await sit(store, thread, [Say("Echo", "yes")], answers=["but why?"])
        assert texts(store, thread) == ["but why?", "yes"]

    async def test_enter_lets_it_go_on(self, store: Store) -> None:
        thread = begin(store, remaining=0)
        await sit(store, thread, [Say("Echo", "one")], answers=[""])
        assert texts(store, thread) == ["one"]

    async def test_undo_takes_own_words_back_and_waits_for_others(self, store: Store) -> None:
        thread = begin(store, remaining=0)
        events, _ = await sit(store, thread, [], answers=["wrong words", "z", "right words"])
        assert texts(store, thread) == ["right words"]
        assert of(events, "note")[0]["text"] == "your last words are taken back"

    async def test_there_is_nothing_to_refuse_or_undo(self, store: Store) -> None:
        thread = begin(store, remaining=0)
        events, _ = await sit(store, thread, [], answers=["x\nz\ns"])
        notes = [note["text"] for note in of(events, "note")]
        assert "nothing to refuse" in notes[0]
        assert "no decision of yours to undo" in notes[1]

    async def test_stop_at_rest_ends_the_sitting(self, store: Store) -> None:
        _, ending = await sit(store, begin(store, remaining=0), [], answers=["s"])
        assert ending.why == "stopped"


class TestTheEnd:
    async def test_comes_after_the_steps_asked_for(self, store: Store) -> None:
        thread = begin(store, remaining=2, arbiter="auto")
        script = [Say("Echo", "one"), ASKED, Say("Shift", "never")]
        events, ending = await sit(store, thread, script, Plan("auto", 2))
        assert (ending.why, ending.thoughts, ending.forks) == ("steps", 2, 1)
        assert len(of(events, "thought")) == 2
        assert store.thread(thread.id).remaining == 0

    async def test_steps_count_a_person_s_choices_too(self, store: Store) -> None:
        thread = begin(store, remaining=3)
        script = [Say("Echo", "one"), ASKED, Say("Shift", "three"), Say("Echo", "never")]
        _, ending = await sit(store, thread, script, Plan("terminal", 3), answers=["1"])
        assert ending.why == "steps"
        assert texts(store, thread) == ["one", FIRST, "three"]
        assert store.thread(thread.id).stride == 5

    async def test_comes_with_the_end_of_the_input_at_the_next_question(self, store: Store) -> None:
        thread = begin(store)
        _, ending = await sit(store, thread, [Say("Echo", "one"), ASKED])
        assert ending.why == "input"
        assert store.open_fork(thread.id) is not None

    async def test_comes_when_an_automatic_dialogue_rests(self, store: Store) -> None:
        _, ending = await sit(store, begin(store, arbiter="auto"), [Say("Echo", "one")], AUTO)
        assert (ending.why, ending.thoughts) == ("rest", 1)

    async def test_counts_questions_for_each_decision(self, store: Store) -> None:
        thread = begin(store)
        script = [Say("Echo", "one"), ASKED, Say("Echo", "two"), Say("Echo", "three")]
        events, ending = await sit(store, thread, script, answers=["1"])
        assert (ending.asked, ending.decisions) == (1, 4)
        assert of(events, "end")[0]["asked_rate"] == 0.25

    async def test_nothing_goes_on_by_itself_afterwards(self, store: Store) -> None:
        thread = begin(store, remaining=100)
        await sit(store, thread, [Say("Echo", str(n)) for n in range(5)], Plan("auto", 2))
        assert store.runnable() == []


class TestComingBack:
    async def test_an_open_fork_is_told_first_and_can_be_answered(self, store: Store) -> None:
        thread = begin(store)
        await sit(store, thread, [ASKED])
        events, _ = await sit(store, thread, [], answers=["2"])
        assert [event["event"] for event in events] == ["fork", "choice", "thought", "end"]
        assert texts(store, thread) == [SECOND]

    async def test_what_was_said_before_is_not_told_again(self, store: Store) -> None:
        thread = begin(store)
        await sit(store, thread, [Say("Echo", "one")], answers=["s"])
        events, ending = await sit(store, thread, [Say("Echo", "two")], answers=["g"])
        assert [event["text"] for event in of(events, "thought")] == ["two"]
        assert ending.thoughts == 1

    async def test_without_a_person_the_best_of_an_open_fork_goes_on(self, store: Store) -> None:
        thread = begin(store)
        await sit(store, thread, [ASKED])
        store.set_arbiter(thread.id, "auto")
        events, _ = await sit(store, thread, [], AUTO)
        assert texts(store, thread) == [FIRST]
        assert of(events, "choice")[0]["via"] == "auto"

    async def test_a_fork_without_options_waits_for_a_person(self, store: Store) -> None:
        thread = begin(store)
        await sit(store, thread, [Part(())])
        events, ending = await sit(store, thread, [], AUTO)
        assert ending.why == "rest"
        assert "no options" in of(events, "note")[0]["text"]


async def test_an_event_has_all_its_fields(store: Store) -> None:
    thread = begin(store, arbiter="auto")
    events, _ = await sit(store, thread, [Say("Echo", "one"), ASKED], AUTO)
    thought = of(events, "thought")[0]
    assert set(thought) >= {"id", "parent", "author", "text", "via", "seconds", "signals"}
    assert thought["signals"] == SIGNALS
    assert thought["parent"] == thread.tip
    assert set(of(events, "fork")[0]["options"][0]) >= {"key", "voices", "text", "p"}
    assert set(of(events, "choice")[0]) >= {"fork", "option", "via", "seconds"}
    assert set(events[-1]) >= {"thread", "thoughts", "forks", "asked_rate", "seconds"}
