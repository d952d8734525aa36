"""The dialogue loop: what the store says is to be done is done, thread by thread.

Owns the order of things: choices without effect are applied, refused forks drawn again, threads that may go on
go on. There is no queue and no state of its own that matters: after a crash the same look at the store finds the
same work (ARCHITECTURE, "the choice row is the commit"). Knows nothing of sockets or pages.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from orchestrator import feed
from orchestrator.context import build
from orchestrator.enginewatch import EngineWatch
from orchestrator.errors import InnerError, StoreError, TipMoved
from orchestrator.gate import Candidate, Cluster, Gate, Profile, Verdict, step_signals
from orchestrator.step import Choir, Drawn, NobodySpeaks, Place, Spoken, Step, as_option, as_thought
from orchestrator.store import (
    ForkRecord,
    NewDecision,
    NewFork,
    NewOption,
    Pending,
    Store,
    ThoughtRecord,
    ThreadRecord,
)
from voices.engine.protocol import Info
from voices.role import ModeSpec, preamble

log = logging.getLogger(__name__)

POLL_SECONDS = 0.01
"""Between two looks at the store's data version; a look costs microseconds."""
PAUSE_SECONDS = 2.0
"""After trouble (disk full, store busy, nobody speaks) before the next try."""
GIVE_UP = 5
"""Failed tries in a row after which a thread rests and says why."""
GATE_HISTORY = 500
SHORTEST_THOUGHT = 8
"""Tokens, tag included: no more thoughts than a context of such ones holds are read for a step."""
SMALL_MODEL = 1_000_000_000
"""Parameters below which voices are given their first words. SmolLM2-135M leaves its role within two lines without
them and keeps it with them (docs/DECISIONS.md); from about a billion on the prompt alone is enough."""
SHOWN_AGAIN = 4
"""Options of another draw, as many as the gate shows."""


@dataclass(slots=True)
class Work:
    """What is under way for a thread, and the tip it started from."""

    task: asyncio.Task[None]
    tip: str
    redraw: bool


class Dialogue:
    """Runs every thread of a store until `run` is cancelled."""

    def __init__(
        self,
        store: Store,
        choir: Choir,
        modes: Mapping[str, ModeSpec],
        engine: EngineWatch,
        publish: Callable[[feed.Event], object],
        *,
        budget: float | None,
        budget_ms: int,
        seed: int | None = None,
        now: Callable[[], float] = time.time,
        pause_s: float = PAUSE_SECONDS,
    ) -> None:
        self._store = store
        self._choir = choir
        self._modes = modes
        self._engine = engine
        self._publish = publish
        self._budget = budget
        self._budget_ms = budget_ms
        self._seed = seed
        self._now = now
        self._pause_s = pause_s
        self._work: dict[str, Work] = {}
        self._failures: dict[str, int] = {}
        self._left_out: dict[str, int] = {}
        self._digests: dict[tuple[str, str], str] = {}
        self._look = True
        self.states: dict[str, feed.ThreadStatus] = {}
        """For the feed's status."""

    async def run(self) -> None:
        """Look at the store whenever it changed, or work ended; cancelled from outside."""
        version = -1
        try:
            while True:
                now = self._store.data_version()
                if now != version or self._look:
                    version, self._look = now, False
                    self._sweep()
                await asyncio.sleep(POLL_SECONDS)
        finally:
            for work in self._work.values():
                work.task.cancel()
            await asyncio.gather(*(w.task for w in self._work.values()), return_exceptions=True)

    def _sweep(self) -> None:
        try:
            pending = self._store.pending()
            for each in pending:
                if each.choice.kind == "none":
                    self._start(each.thread, redraw=each)
                elif (applied := self._store.apply(each.choice.id)) is not None:
                    self._rest_if_final(each.thread, applied)
                    self._changed(each.thread.id)
            runnable = {thread.id: thread for thread in self._store.runnable()}
        except StoreError as error:
            log.warning("the store: %s", error)
            self._later()
            return
        redrawn = {each.thread.id for each in pending if each.choice.kind == "none"}
        for thread_id, work in self._work.items():
            wanted = redrawn if work.redraw else runnable
            moved = not work.redraw and thread_id in runnable and runnable[thread_id].tip != work.tip
            if thread_id not in wanted or moved:
                work.task.cancel()
        for thread in runnable.values():
            self._start(thread)
        for thread_id, state in list(self.states.items()):
            if state.state == "thinking" and thread_id not in self._work:
                self._rest(thread_id)

    def _start(self, thread: ThreadRecord, redraw: Pending | None = None) -> None:
        if thread.id in self._work:
            return
        task = asyncio.create_task(self._guarded(thread, redraw), name=f"thread {thread.id}")
        self._work[thread.id] = Work(task, thread.tip, redraw is not None)
        self._state(thread.id, "thinking")

    async def _guarded(self, thread: ThreadRecord, redraw: Pending | None) -> None:
        """One step with its troubles: every one is said, none stops another thread."""
        try:
            place = await self._place(thread)
            step = Step(
                self._choir, self._store, place, budget_ms=self._budget_ms, hear=self._hearer(thread.id)
            )
            if redraw is None:
                await self._go_on(place, step)
            else:
                await self._draw_again(place, step, redraw.fork)
            self._failures.pop(thread.id, None)
        except TipMoved:
            log.info("thread %s moved on while a step was under way; the step is dropped", thread.id)
        except NobodySpeaks as error:
            await self._trouble(thread, "the engine is restarting" if error.engine else str(error))
        except InnerError as error:
            await self._trouble(thread, f"{error.message}. {error.hint}".strip(), forever=error.retryable)
        except Exception:
            # A defect of ours: without a pause and an end the same look at the store would meet it for ever.
            log.exception("thread %s", thread.id)
            await self._trouble(thread, "a step failed; the orchestrator's log says more")
        finally:
            self._work.pop(thread.id, None)
            self._look = True

    async def _trouble(self, thread: ThreadRecord, why: str, *, forever: bool = False) -> None:
        """Say it, wait, and try again; a thread that only fails rests after GIVE_UP tries."""
        log.warning("thread %s: %s", thread.id, why)
        self._state(thread.id, "paused", why)
        self._publish(feed.Note(thread=thread.id, text=why))
        self._failures[thread.id] = self._failures.get(thread.id, 0) + 1
        lost = self._engine.info is None
        if self._failures[thread.id] >= GIVE_UP and not forever and not lost:
            self._failures.pop(thread.id)
            self._store.set_remaining(thread.id, 0)
        elif lost:
            await self._engine.ready()
        else:
            await asyncio.sleep(self._pause_s)

    async def _place(self, thread: ThreadRecord) -> Place:
        """The thread as the voices will see it, cut to the context window if it must be."""
        mode = self._modes.get(thread.mode)
        if mode is None:
            raise InnerError(
                f"the mode {thread.mode!r} has no prompts any more", hint="put them back, then go on"
            )
        info = await self._engine.ready()
        newest = self._store.path(thread.id, last=info.n_ctx // SHORTEST_THOUGHT)
        opening = self._store.thought(newest[0].root_id)
        known = {t.id: _own_ids(t, info.model) for t in (opening, *newest)}
        lengths = await self._engine.lengths(list(known.values()), info)
        context = build(
            known[opening.id],
            [known[thought.id] for thought in newest],
            room=await self._engine.room(mode, info),
            length=lambda thought: lengths[thought.id],
        )
        if context.left_out != self._left_out.get(thread.id, 0):
            self._left_out[thread.id] = context.left_out
            self._publish(
                feed.Note(thread=thread.id, text=_left_out_note(context.left_out, len(context.turns)))
            )
        return Place(
            thread=thread,
            mode=mode,
            turns=context.turns,
            depth=newest[-1].depth,
            model=info.model,
            prompt=self._kept(mode, info),
            lot=thread.tip if self._seed is None else f"{self._seed}:{newest[-1].depth}",
            begin=info.n_params < SMALL_MODEL,
        )

    def _kept(self, mode: ModeSpec, info: Info) -> str:
        """The digest of the mode's preamble, after preamble and model were kept in the store, once a process."""
        if (mode.name, info.model) not in self._digests:
            self._store.keep_model(
                info.model, info.name, info.model_dump(exclude={"type", "request", "thread_timings"})
            )
            self._digests[mode.name, info.model] = self._store.keep_prompt(preamble(mode))
        return self._digests[mode.name, info.model]

    async def _go_on(self, place: Place, step: Step) -> None:
        """The lead, the cheap screen, and only then the others, the decision, the commit or the fork."""
        thread = place.thread
        profile = Profile(
            mode=place.mode.name,
            rate=place.mode.budget if self._budget is None else self._budget,
            per_minute=place.mode.per_minute,
            cooldown=place.mode.cooldown,
            unit=place.mode.unit,
        )
        decisions = self._store.decisions(thread.id, last=GATE_HISTORY)
        gate = Gate(profile, [decision.reading for decision in decisions], self._now)
        lead = await step.lead()
        read = step_signals(
            lead.own_tokens, exact=lead.proposal.stats.exact if lead.proposal.stats else False
        )
        screen = gate.screen(read)
        if screen.clear or not lead.own_tokens:
            outcome = gate.note_clear(screen, read)
            decision = NewDecision(
                reading=outcome.reading, score=outcome.score, threshold=outcome.threshold, asked=False
            )
            self._commit(thread, _alone(lead), decision)
            return
        drawn = await step.fork(lead)
        verdict = gate.decide(screen, read, drawn.point, drawn.clusters)
        decision = NewDecision(
            reading=verdict.reading, score=verdict.score, threshold=verdict.threshold, asked=verdict.asked
        )
        if len(drawn.clusters) < 2:
            self._commit(thread, verdict.best, decision)
        elif verdict.asked:
            self._open(thread, drawn, verdict.shown, decision, verdict)
        else:
            self._commit_unasked(thread, drawn, verdict, decision)

    def _commit(self, thread: ThreadRecord, best: Cluster, decision: NewDecision) -> None:
        said = self._store.commit_thought(thread.id, thread.tip, as_thought(best), decision)
        self._rest_if_final(thread, said)
        self._changed(thread.id)

    def _commit_unasked(
        self, thread: ThreadRecord, drawn: Drawn, verdict: Verdict, decision: NewDecision
    ) -> None:
        """The way goes on by itself; what was not taken is kept as a fork that nobody was asked about."""
        fork = _new_fork(drawn, verdict.reason, verdict.reading, asked=False)
        said = self._store.commit_thought(
            thread.id, thread.tip, as_thought(verdict.best), decision, fork, _options(drawn, verdict.shown)
        )
        self._rest_if_final(thread, said)
        self._changed(thread.id)

    def _rest_if_final(self, thread: ThreadRecord, said: ThoughtRecord) -> None:
        """An answer ends a problem: a person goes on from there if they wish. An automatic run counts its steps."""
        mode = self._modes.get(thread.mode)
        final = mode.final.casefold() if mode else ""
        if final and thread.arbiter == "person" and final in said.text.casefold():
            self._store.set_remaining(thread.id, 0)

    def _open(
        self,
        thread: ThreadRecord,
        drawn: Drawn,
        shown: list[Cluster],
        decision: NewDecision | None,
        verdict: Verdict,
    ) -> None:
        fork = _new_fork(drawn, verdict.reason, verdict.reading, asked=True)
        opened = self._store.open_new_fork(thread.id, thread.tip, fork, _options(drawn, shown), decision)
        if thread.arbiter == "auto":
            best = next(o for o in opened.options if o.text == verdict.best.text)
            self._store.choose(opened.id, "option", option_id=best.id, arbiter="gate", via="auto")
        else:
            self._state(thread.id, "waiting")
        self._changed(thread.id)

    async def _draw_again(self, place: Place, step: Step, refused: ForkRecord) -> None:
        """Another draw after "none of these": no decision of the gate, so nothing is charged to its budget."""
        thread = place.thread
        earlier = self._store.forks(thread.id, at=refused.thought_id)
        drawn = await step.again(earlier)
        shown = drawn.clusters[:SHOWN_AGAIN]
        reason = "another draw, without those" if shown else "nothing else comes: say it in your own words"
        fork = _new_fork(drawn, reason, {"redraw": len(earlier)}, asked=True)
        self._store.open_new_fork(thread.id, thread.tip, fork, _options(drawn, shown), None)
        self._state(thread.id, "waiting")
        self._changed(thread.id)

    def _hearer(self, thread: str) -> Callable[[str, str, str], None]:
        def hear(voice: str, text: str, phase: str) -> None:
            self._publish(
                feed.Words(thread=thread, voice=voice, text=text, phase="lead" if phase == "lead" else "fork")
            )

        return hear

    def _changed(self, thread: str) -> None:
        self._publish(feed.StoreChanged(thread=thread))

    def _state(self, thread: str, state: feed.ThreadWord, detail: str = "") -> None:
        self.states[thread] = feed.ThreadStatus(state=state, detail=detail)

    def _rest(self, thread: str) -> None:
        waiting = self._store.open_fork(thread) is not None
        self._state(thread, "waiting" if waiting else "resting")

    def _later(self) -> None:
        def look() -> None:
            self._look = True

        asyncio.get_running_loop().call_later(self._pause_s, look)


def _own_ids(thought: ThoughtRecord, model: str) -> ThoughtRecord:
    """The thought without ids of another model: they would be other words in this one."""
    return thought if thought.model == model else thought.model_copy(update={"token_ids": ()})


def _left_out_note(left_out: int, kept: int) -> str:
    if not left_out:
        return "the whole thread is in the voices' sight again"
    return f"the thread outgrew the model's context: {left_out} thoughts after the opening left it, {kept} remain"


def _alone(lead: Spoken) -> Cluster:
    """The lead's proposal where nobody else was asked."""
    candidate = Candidate(
        text=lead.proposal.text, voices=(lead.ask.voice,), source="lead", p=1.0, payload=lead
    )
    return Cluster("", candidate, (candidate,), candidate.voices, 1.0)


def _new_fork(drawn: Drawn, reason: str, reading: Mapping[str, object], *, asked: bool) -> NewFork:
    point = drawn.point.as_dict() if drawn.point else {}
    return NewFork(
        asked=asked,
        reason=reason,
        reading=dict(reading),
        fork_point={**point, "prefix": list(drawn.prefix), "tried": list(drawn.tried)},
    )


def _options(drawn: Drawn, shown: list[Cluster]) -> list[NewOption]:
    """Those shown, with their keys, then the rest, kept without a key."""
    keys = {cluster.key: key for key, cluster in enumerate(shown, 1)}
    rest = [cluster for cluster in drawn.clusters if cluster.key not in keys]
    return [
        as_option(cluster, key=keys.get(cluster.key), rank=rank, prefix=drawn.prefix)
        for rank, cluster in enumerate([*shown, *rest])
    ]
