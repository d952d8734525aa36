"""The dialogue over a real store, with scripted voices: what goes on by itself, what is asked, what survives."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import pytest

from orchestrator import feed
from orchestrator.dialogue import GIVE_UP, Dialogue
from orchestrator.store import ForkRecord, Store, ThreadRecord
from tests.dialogue.scripted import VOICES, Said, ScriptedChoir, ScriptedEngine, declined
from voices.role import load_modes
from voices.wire import ForkSeed, Turn

MODES = load_modes()


@pytest.fixture
def store(tmp_path: Path) -> contextlib.AbstractContextManager[Store]:
    with Store.open(tmp_path / "inner.db") as store:
        yield store  # type: ignore[misc]


class Running:
    """A dialogue that runs, and what it published."""

    def __init__(
        self, store: Store, choir: ScriptedChoir, engine: ScriptedEngine, budget: float | None
    ) -> None:
        self.events: list[feed.Event] = []
        self.store = store
        self.dialogue = Dialogue(
            store,
            choir,
            MODES,
            engine,  # type: ignore[arg-type]
            self.events.append,
            budget=budget,
            budget_ms=1000,
            pause_s=0.02,
        )

    async def until(self, true: Callable[[], object]) -> None:
        async with asyncio.timeout(20):
            while not true():  # noqa: ASYNC110 - the store has no event to wait for
                await asyncio.sleep(0.005)

    async def rest(self, thread: ThreadRecord) -> None:
        """Until nothing is left to do for the thread: it rests, or a fork waits."""
        await self.until(lambda: not self.store.runnable() and not self.store.pending())
        del thread

    async def fork(self, thread: ThreadRecord, attempt: int = 1) -> ForkRecord:
        def opened() -> bool:
            fork = self.store.open_fork(thread.id)
            return fork is not None and fork.attempt >= attempt

        await self.until(opened)
        fork = self.store.open_fork(thread.id)
        assert fork is not None
        return fork


@contextlib.asynccontextmanager
async def running(
    store: Store, choir: ScriptedChoir, engine: ScriptedEngine | None = None, *, budget: float | None = 1.0
) -> AsyncIterator[Running]:
    run = Running(store, choir, engine or ScriptedEngine(), budget)
    task = asyncio.create_task(run.dialogue.run())
    try:
        yield run
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def texts(store: Store, thread: ThreadRecord) -> list[str]:
    return [thought.text for thought in store.path(thread.id)]


def calm(voice: str, context: Sequence[Turn], seed: ForkSeed | None, count: int) -> Said:
    return f"{voice} says thing number {len(context)} quietly."


def forked(voice: str, context: Sequence[Turn], seed: ForkSeed | None, count: int) -> Said:
    """The lead is undecided about one word; what follows a seed depends on voice and seed."""
    if seed is None or not seed.ids:
        return f"I would rather have WINE number {len(context)}."
    return f"and {voice} number {len(context)}."


async def test_where_the_way_is_clear_only_the_lead_is_asked_and_the_leads_take_turns(store: Store) -> None:
    choir = ScriptedChoir(calm)
    thread = store.begin("journal", "I think.", remaining=6)
    async with running(store, choir) as run:
        await run.rest(thread)
    assert [t.author for t in store.path(thread.id)][1:] == [
        "Echo",
        "Pulse",
        "Doubt",
        "Shift",
        "Echo",
        "Pulse",
    ]
    assert len(choir.asked) == 6
    assert store.forks(thread.id) == []
    assert len(store.decisions(thread.id)) == 6


async def test_a_real_fork_stops_the_thread_and_shows_distinct_options(store: Store) -> None:
    choir = ScriptedChoir(forked)
    thread = store.begin("journal", "I think.", remaining=5)
    async with running(store, choir) as run:
        fork = await run.fork(thread)
        await asyncio.sleep(0.1)
        assert texts(store, thread) == ["I think."]
    shown = [o for o in fork.options if o.key]
    assert fork.asked
    assert [o.key for o in shown] == list(range(1, len(shown) + 1))
    assert 2 <= len({o.text for o in shown}) == len(shown) <= 4
    assert all(o.text.startswith(fork.options[0].prefix_text.strip()) for o in fork.options)
    assert {voice for o in fork.options for voice in o.voices} == set(VOICES)
    assert "WINE" in fork.reason
    assert sum(o.p for o in fork.options) == pytest.approx(1.0)
    assert all(o.hidden and o.token_ids and o.statistics["logp"] for o in fork.options)


async def test_every_signal_of_the_decision_is_kept_with_it(store: Store) -> None:
    thread = store.begin("journal", "I think.", remaining=1)
    async with running(store, ScriptedChoir(forked)) as run:
        fork = await run.fork(thread)
    (decision,) = store.decisions(thread.id)
    assert decision.asked
    assert fork.decision_id == decision.id
    for signal in ("signals", "rank", "semantic_entropy", "dissent", "v", "threshold"):
        assert signal in decision.reading


async def test_a_choice_is_applied_once_and_the_thread_goes_on_by_its_stride(store: Store) -> None:
    choir = ScriptedChoir(forked)
    thread = store.begin("journal", "I think.", remaining=1, stride=2)
    async with running(store, choir) as run:
        fork = await run.fork(thread)
        chosen = next(o for o in fork.options if o.key == 2)
        choir.answer = calm
        store.choose(fork.id, "option", option_id=chosen.id, via="key")
        await run.until(lambda: len(store.path(thread.id)) > 1)
        await run.rest(thread)
    path = store.path(thread.id)
    assert path[1].text == chosen.text
    assert path[1].author == chosen.voices[0]
    assert path[1].via == "key"
    assert path[1].token_ids == chosen.token_ids
    assert len(path) == 4


async def test_none_of_these_brings_another_draw_without_these_and_charges_nothing(store: Store) -> None:
    def open_ended(voice: str, context: Sequence[Turn], seed: ForkSeed | None, count: int) -> Said:
        if seed is not None and seed.bans:
            return f"BEER number {count}."
        return forked(voice, context, seed, count) if count < 20 else f"{voice} wants thing {count}."

    choir = ScriptedChoir(open_ended, others=("tea", "rain", "home", "sun", "moon", "snow"))
    thread = store.begin("journal", "I think.", remaining=1)
    async with running(store, choir) as run:
        first = await run.fork(thread)
        store.choose(first.id, "none", via="key")
        second = await run.fork(thread, attempt=2)
        assert all(o.text.startswith("I would rather have") for o in second.options)
        assert not any("tea" in o.text for o in second.options)
        store.choose(second.id, "none", via="key")
        third = await run.fork(thread, attempt=3)
    seen = {o.text for o in first.options}
    assert second.options
    assert not seen & {o.text for o in second.options}
    assert not (seen | {o.text for o in second.options}) & {o.text for o in third.options}
    assert len(store.decisions(thread.id)) == 1


async def test_where_nothing_else_comes_the_fork_says_so_and_own_words_go_on(store: Store) -> None:
    choir = ScriptedChoir(forked)
    thread = store.begin("journal", "I think.", remaining=1, stride=1)
    async with running(store, choir) as run:
        first = await run.fork(thread)
        choir.answer = lambda voice, context, seed, count: "I would rather have WINE number 1."
        choir.others = ()
        texts_shown = {o.text for o in first.options}
        assert "I would rather have WINE number 1." in texts_shown
        store.choose(first.id, "none", via="key")
        empty = await run.fork(thread, attempt=2)
        assert empty.options == ()
        assert "own words" in empty.reason
        choir.answer = calm
        store.choose(empty.id, "own", text="I want tea.", via="text")
        await run.until(lambda: len(store.path(thread.id)) == 3)
    assert texts(store, thread)[1] == "I want tea."
    assert store.path(thread.id)[1].human


async def test_without_a_person_the_gates_best_goes_on_and_the_fork_is_kept(store: Store) -> None:
    thread = store.begin("journal", "I think.", remaining=4, arbiter="auto")
    async with running(store, ScriptedChoir(forked)) as run:
        await run.until(lambda: len(store.path(thread.id)) == 5)
        await run.rest(thread)
    forks = store.forks(thread.id)
    assert any(f.asked for f in forks)
    for fork in forks:
        assert fork.choice is not None
        assert fork.choice.via == "auto"
        assert len({o.text for o in fork.options}) >= 2
    assert len(store.path(thread.id)) == 5


async def test_one_meaning_is_never_a_fork(store: Store) -> None:
    def agreed(voice: str, context: Sequence[Turn], seed: ForkSeed | None, count: int) -> Said:
        return "" if seed and seed.ids else f"It is LATE number {len(context)}"

    choir = ScriptedChoir(agreed, others=("late", "Late"))
    thread = store.begin("journal", "I think.", remaining=2)
    async with running(store, choir) as run:
        await run.rest(thread)
    assert store.forks(thread.id) == []
    assert len(store.path(thread.id)) == 3


async def test_a_budget_of_zero_never_asks_and_keeps_what_was_not_taken(store: Store) -> None:
    thread = store.begin("journal", "I think.", remaining=4)
    async with running(store, ScriptedChoir(forked), budget=0.0) as run:
        await run.until(lambda: len(store.path(thread.id)) == 5)
    forks = store.forks(thread.id)
    assert forks
    assert not any(f.asked for f in forks)
    assert all(f.choice and f.choice.via == "auto" for f in forks)


async def test_a_voice_that_falls_silent_leaves_the_fork_to_the_others(store: Store) -> None:
    def without_doubt(voice: str, context: Sequence[Turn], seed: ForkSeed | None, count: int) -> Said:
        return declined("gone") if voice == "Doubt" else forked(voice, context, seed, count)

    thread = store.begin("journal", "I think.", remaining=1)
    async with running(store, ScriptedChoir(without_doubt)) as run:
        fork = await run.fork(thread)
    voices = {voice for o in fork.options for voice in o.voices}
    assert "Doubt" not in voices
    assert len(voices) == 3


async def test_a_lead_that_is_gone_gives_way_to_the_next(store: Store) -> None:
    choir = ScriptedChoir(calm)
    choir.present = ["Pulse", "Shift"]
    thread = store.begin("journal", "I think.", remaining=2)
    async with running(store, choir) as run:
        await run.rest(thread)
    assert [t.author for t in store.path(thread.id)][1:] == ["Pulse", "Shift"]


async def test_where_nobody_speaks_the_thread_says_so_and_rests_after_some_tries(store: Store) -> None:
    choir = ScriptedChoir(lambda *_: declined("voice_error", retryable=False))
    thread = store.begin("journal", "I think.", remaining=3)
    async with running(store, choir) as run:
        await run.until(lambda: store.thread(thread.id).remaining == 0)
    notes = [event for event in run.events if isinstance(event, feed.Note)]
    assert len(notes) == GIVE_UP
    assert "scripted voice_error" in notes[0].text
    assert len(store.path(thread.id)) == 1


async def test_a_lost_engine_is_waited_for_and_the_step_is_asked_again(store: Store) -> None:
    engine = ScriptedEngine()
    down = True

    def answer(voice: str, context: Sequence[Turn], seed: ForkSeed | None, count: int) -> Said:
        if down:
            engine.up.clear()
            return declined("engine_lost")
        return calm(voice, context, seed, count)

    thread = store.begin("journal", "I think.", remaining=2)
    async with running(store, ScriptedChoir(answer), engine) as run:
        await run.until(
            lambda: run.dialogue.states.get(thread.id, feed.ThreadStatus(state="resting")).state == "paused"
        )
        down = False
        engine.up.set()
        await run.rest(thread)
    assert len(store.path(thread.id)) == 3


async def test_own_words_said_meanwhile_win_and_the_step_under_way_is_dropped(store: Store) -> None:
    choir = ScriptedChoir(calm)
    choir.hold = asyncio.Event()
    thread = store.begin("journal", "I think.", remaining=1)
    async with running(store, choir) as run:
        await run.until(lambda: choir.asked)
        store.say(thread.id, "No, wait.", expected_tip=thread.tip, remaining=1)
        choir.hold.set()
        await run.rest(thread)
    assert texts(store, thread)[:2] == ["I think.", "No, wait."]
    assert len(store.path(thread.id)) == 3
    assert [t.text for t in store.tree(thread.id)] == texts(store, thread)


async def test_stopping_takes_the_ask_back_and_nothing_more_is_said(store: Store) -> None:
    choir = ScriptedChoir(calm)
    choir.hold = asyncio.Event()
    thread = store.begin("journal", "I think.", remaining=5)
    async with running(store, choir) as run:
        await run.until(lambda: choir.asked)
        store.set_remaining(thread.id, 0)
        await run.until(lambda: not store.open_requests())
        choir.hold.set()
        await asyncio.sleep(0.1)
    assert texts(store, thread) == ["I think."]


async def test_a_line_that_repeats_an_earlier_one_is_drawn_again(store: Store) -> None:
    def stuck(voice: str, context: Sequence[Turn], seed: ForkSeed | None, count: int) -> Said:
        return "It is late." if count % 2 == 0 else f"It is later now, {count}."

    thread = store.begin("journal", "It is late.", remaining=2)
    async with running(store, ScriptedChoir(stuck)) as run:
        await run.rest(thread)
    assert texts(store, thread) == ["It is late.", "It is later now, 1.", "It is later now, 3."]


async def test_a_small_model_is_given_first_words_not_heard_lately_and_a_large_one_is_not(
    store: Store,
) -> None:
    for n_params, given in ((135_000_000, True), (7_000_000_000, False)):
        choir = ScriptedChoir(lambda voice, context, seed, count: f"about thing {len(context)}.")
        thread = store.begin("journal", f"I think {n_params}.", remaining=9)
        async with running(store, choir, ScriptedEngine(n_params=n_params)) as run:
            await run.rest(thread)
        seeds = [seed.text for _, seed, _ in choir.asked if seed]
        assert bool(seeds) is given
        assert len(set(seeds)) == len(seeds)


async def test_a_full_context_keeps_the_opening_and_the_newest_and_says_so(store: Store) -> None:
    choir = ScriptedChoir(calm)
    thread = store.begin("journal", "The opening.", remaining=40)
    async with running(store, choir, ScriptedEngine(room=250)) as run:
        await run.rest(thread)
    last = choir.contexts[-1]
    path = store.path(thread.id)
    assert last[0].text == "The opening."
    assert last[-1].text == path[-2].text
    assert len(last) < len(path) - 10
    assert any(isinstance(e, feed.Note) and "outgrew" in e.text for e in run.events)
    assert len(path) == 41


async def test_after_a_crash_a_choice_is_applied_exactly_once_and_the_thread_goes_on(store: Store) -> None:
    thread = store.begin("journal", "I think.", remaining=1, stride=1)
    async with running(store, ScriptedChoir(forked)) as run:
        fork = await run.fork(thread)
    store.choose(fork.id, "option", option_id=fork.options[0].id)  # nobody is there to apply it
    for _ in range(2):
        async with running(store, ScriptedChoir(calm)) as run:
            await run.rest(thread)
    assert texts(store, thread)[1] == fork.options[0].text
    assert len(store.path(thread.id)) == 3
    assert store.integrity() == []


async def test_words_are_published_as_they_are_spoken(store: Store) -> None:
    thread = store.begin("journal", "I think.", remaining=1)
    async with running(store, ScriptedChoir(calm)) as run:
        await run.rest(thread)
    heard = [event for event in run.events if isinstance(event, feed.Words)]
    assert heard[0].voice == "Echo"
    assert heard[0].phase == "lead"
    assert heard[0].thread == thread.id


async def test_two_threads_go_on_side_by_side(store: Store) -> None:
    threads = [store.begin("journal", f"Thought {i}.", remaining=3) for i in range(2)]
    async with running(store, ScriptedChoir(calm)) as run:
        await run.rest(threads[0])
    assert [len(store.path(t.id)) for t in threads] == [4, 4]


async def test_an_answer_lets_the_thread_rest_where_a_person_is_there(store: Store) -> None:
    def answering(voice: str, context: Sequence[Turn], seed: ForkSeed | None, count: int) -> Said:
        return f"The answer is {len(context)}." if len(context) == 2 else f"Step {len(context)}."

    person = store.begin("steps", "How many?", remaining=5)
    alone = store.begin("steps", "How many then?", remaining=5, arbiter="auto")
    async with running(store, ScriptedChoir(answering)) as run:
        await run.rest(person)
        await run.until(lambda: len(store.path(alone.id)) == 6)
    assert texts(store, person)[-1] == "The answer is 2."


async def test_a_fifth_voice_proposes_at_forks(store: Store) -> None:
    choir = ScriptedChoir(forked)
    choir.present.append("Skeptic")
    thread = store.begin("journal", "I think.", remaining=1)
    async with running(store, choir) as run:
        await run.fork(thread)
    assert {voice for voice, _, _ in choir.asked} == {*VOICES, "Skeptic"}


async def test_a_defect_in_a_step_is_said_and_ends_after_some_tries_instead_of_spinning(store: Store) -> None:
    def broken(voice: str, context: Sequence[Turn], seed: ForkSeed | None, count: int) -> Said:
        raise ZeroDivisionError

    choir = ScriptedChoir(broken)
    thread = store.begin("journal", "I think.", remaining=3)
    async with running(store, choir) as run:
        await run.until(lambda: store.thread(thread.id).remaining == 0)
    assert len(choir.asked) == GIVE_UP
    assert any(isinstance(e, feed.Note) and "log" in e.text for e in run.events)
