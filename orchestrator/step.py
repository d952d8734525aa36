"""One step of a thread: the lead writes, the gate reads, and where it really forks the options are made.

Owns the flow of ARCHITECTURE "A step" from context to a drawn fork. Writes requests and replies to the store,
since they are facts the moment they happen; whether the step is committed is the dialogue's business. Knows
nothing of sockets, processes or how a person is asked.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from orchestrator.gate import Candidate, Cluster, ForkPoint, fork_point
from orchestrator.gate import cluster as cluster_meanings
from orchestrator.gate.cluster import normalise
from orchestrator.lease import VoiceState
from orchestrator.store import ForkRecord, NewOption, NewRequest, NewThought, Store, ThreadRecord
from orchestrator.store.base import uuid7
from orchestrator.store.records import NewReply, Outcome, Source
from voices.role import ModeSpec
from voices.wire import Declined, ForkSeed, Partial, Proposal, Statistics, TokenStats, Turn

WORDS = 4
"""Words at the fork point: the lead's own and three more (GATE.md, fork semantic entropy K=4)."""
FRESH_TRIES = 3
"""Draws of the lead before a line that repeats an earlier one is let through or the next voice leads."""
RECENT = 12
"""Thoughts a new one may not repeat word for word."""
BRANCH_SHARE = {"line": 0.7, "sentence": 0.3, "idea": 0.3}
"""Of a word's probability, the branch's part beside the voice seeded with the same word. In steps the lead's
branches hold the right answer more often (GATE.md, fact 2); elsewhere another character is worth more."""

Hear = Callable[[str, str, str], None]
"""(voice, text so far, "lead" or "fork"): words as they are spoken, for display."""


class Choir(Protocol):
    """Whom a step asks: the bus hub (orchestrator.bus.Hub), or a scripted one in tests."""

    @property
    def voices(self) -> Mapping[str, VoiceState]:
        """Every voice that was here, present or gone."""
        ...

    async def ask(
        self,
        voice: str,
        *,
        request: str,
        thread: str,
        mode: str,
        context: Sequence[Turn],
        budget_ms: int,
        model: str,
        fork_seed: ForkSeed | None,
        greedy: bool,
        seed: int,
        on_partial: Callable[[Partial], None] | None,
    ) -> Proposal | Declined:
        """One proposal, or why there is none. Never raises for a voice's trouble."""
        ...


class NobodySpeaks(Exception):
    """No voice could lead this step. `engine` is True where the engine is the reason."""

    def __init__(self, why: str, *, engine: bool) -> None:
        super().__init__(why)
        self.engine = engine


@dataclass(frozen=True, slots=True)
class Ask:
    """What one voice is asked for: where it starts, how, and what its answer weighs at the fork."""

    voice: str
    source: Source
    seed: ForkSeed | None = None
    greedy: bool = False
    p: float = 0.0
    salt: int = 0


@dataclass(frozen=True, slots=True)
class Spoken:
    """A proposal with what it came from."""

    request: str
    ask: Ask
    proposal: Proposal
    seconds: float

    @property
    def own_tokens(self) -> tuple[TokenStats, ...]:
        """Tokens after the forced ones: what the voice itself decided."""
        stats = self.proposal.stats
        return stats.tokens[stats.n_forced :] if stats else ()


@dataclass(frozen=True, slots=True)
class Place:
    """Where in the tree a step goes on from."""

    thread: ThreadRecord
    mode: ModeSpec
    turns: tuple[Turn, ...]
    depth: int
    """Thoughts on the path: whose turn it is."""
    model: str
    """Digest the turns' token ids belong to."""
    prompt: str
    """Digest of the mode's preamble in the store: with tip, voice and seed it tells what was asked."""
    lot: str
    """What the draws are made from: the tip, or a person's seed and the place's depth."""
    begin: bool
    """Whether the model is so small that voices are given their first words."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """A fork's options, clustered. `prefix` holds the ids all of them begin with."""

    lead: Spoken
    clusters: list[Cluster]
    point: ForkPoint | None
    prefix: tuple[int, ...]
    tried: tuple[int, ...]
    """First ids at the fork point that this draw used up: another draw comes without them."""


class Step:
    """Asks the voices for one step of one thread."""

    def __init__(self, choir: Choir, store: Store, place: Place, *, budget_ms: int, hear: Hear) -> None:
        self._choir = choir
        self._store = store
        self._place = place
        self._budget_ms = budget_ms
        self._hear = hear

    async def lead(self, *, salt: int = 0) -> Spoken:
        """The default continuation: the voice whose turn it is, or the next that can. Raises NobodySpeaks."""
        problem: Declined | None = None
        for name in self._order():
            for attempt in range(FRESH_TRIES):
                ask = Ask(name, "lead", salt=salt * FRESH_TRIES + attempt, p=1.0)
                answer = await self._one(ask, "lead")
                if isinstance(answer, Spoken):
                    if not self._repeats(answer.proposal.text) or attempt == FRESH_TRIES - 1:
                        return answer
                    continue
                problem = answer
                if not answer.retryable and answer.code != "empty":
                    break
                if answer.code.startswith("engine"):
                    raise NobodySpeaks(answer.message or answer.code, engine=True)
        why = f"{problem.code}: {problem.message}" if problem else "no voice of this mode is present"
        raise NobodySpeaks(why, engine=False)

    async def fork(self, lead: Spoken) -> Drawn:
        """Branches of the lead at its fork point, the other voices seeded there, clustered by meaning."""
        own, stats = lead.own_tokens, lead.proposal.stats
        point = fork_point(own, words=WORDS)
        if point is None or stats is None:
            return Drawn(lead, self._cluster([lead], 1.0), None, (), ())
        start = stats.n_forced + point.index
        prefix = tuple(token.id for token in stats.tokens[:start])
        others = point.alternatives[1:]
        spoken = await self._seeded(lead, prefix, [(a.id, a.p) for a in others])
        tried = tuple(a.id for a in point.alternatives)
        return Drawn(lead, self._cluster([lead, *spoken], point.own_p), point, prefix, tried)

    async def again(self, refused: Sequence[ForkRecord]) -> Drawn:
        """Another draw after "none of these", without the options refused so far.

        First other words at the same fork point; where those run out, every voice from the start of the step,
        in its own way. May end with fewer than two clusters: then that is said, and own words remain.
        """
        gone = {normalise(o.text, self._place.mode.unit) for fork in refused for o in fork.options}
        point = refused[-1].fork_point
        prefix, tried = tuple(point.get("prefix", ())), tuple(point.get("tried", ()))
        drawn = await self._other_words(prefix, tried, salt=len(refused)) if tried else None
        if drawn is not None:
            drawn = self._without(drawn, gone)
            if len(drawn.clusters) >= 2:
                return drawn
        return self._without(await self._freely(salt=len(refused)), gone)

    async def _other_words(
        self, prefix: tuple[int, ...], tried: tuple[int, ...], *, salt: int
    ) -> Drawn | None:
        name = self._order()[0]
        seed = ForkSeed(ids=prefix, bans=tried)
        lead = await self._one(Ask(name, "lead", seed, salt=salt, p=1.0), "fork")
        if not isinstance(lead, Spoken) or not lead.own_tokens:
            return None
        first = lead.own_tokens[0]
        fresh = [(a.id, a.p) for a in first.top if a.id not in (*tried, first.id) and a.text.strip()][
            : WORDS - 1
        ]
        spoken = await self._seeded(lead, prefix, fresh)
        used = (*tried, first.id, *(token for token, _ in fresh))
        return Drawn(lead, self._cluster([lead, *spoken], 1 / WORDS), None, prefix, used)

    async def _freely(self, *, salt: int) -> Drawn:
        asks = [Ask(name, "voice", salt=salt, p=1.0) for name in self._order()]
        spoken = [s for s in await self._all(asks) if not self._repeats(s.proposal.text)]
        if not spoken:
            raise NobodySpeaks("no voice had anything new to say", engine=False)
        return Drawn(spoken[0], self._cluster(spoken, 1.0), None, (), ())

    def _without(self, drawn: Drawn, gone: set[str]) -> Drawn:
        kept = [c for c in drawn.clusters if c.key not in gone]
        mass = sum(c.p for c in kept) or 1.0
        clusters = [Cluster(c.key, c.representative, c.members, c.voices, c.p / mass) for c in kept]
        return Drawn(drawn.lead, clusters, drawn.point, drawn.prefix, drawn.tried)

    async def _seeded(
        self, lead: Spoken, prefix: tuple[int, ...], words: Sequence[tuple[int, float]]
    ) -> list[Spoken]:
        """For each word: a greedy branch of the lead, and the other voices by turns starting there."""
        share = BRANCH_SHARE[self._place.mode.unit]
        others = [name for name in self._order() if name != lead.ask.voice]
        asks = []
        for k, (token, p) in enumerate(words):
            seed = ForkSeed(ids=(*prefix, token))
            here = others[k :: len(words)]  # every other voice starts somewhere, those of one's own too
            asks.append(Ask(lead.ask.voice, "branch", seed, greedy=True, p=p * (share if here else 1.0)))
            asks += [Ask(name, "voice", seed, p=p * (1.0 - share) / len(here)) for name in here]
        return await self._all(asks)

    async def _all(self, asks: Sequence[Ask], phase: str = "fork") -> list[Spoken]:
        """Those of `asks` that were answered with words; the others are left out."""
        return [answer for answer in await self._answers(asks, phase) if isinstance(answer, Spoken)]

    async def _one(self, ask: Ask, phase: str) -> Spoken | Declined:
        return (await self._answers([ask], phase))[0]

    async def _answers(self, asks: Sequence[Ask], phase: str) -> list[Spoken | Declined]:
        """All at once, so that the engine decodes them in one batch. The requests are in the store before the
        first is sent; how they ended is written in one go."""
        news = [self._request(ask) for ask in asks]
        self._store.note_requests(news)
        try:
            answers = await asyncio.gather(*map(self._ask, asks, news, [phase] * len(asks)))
        except asyncio.CancelledError:
            self._store.note_replies([NewReply(request_id=new.id, outcome="cancelled") for new in news])
            raise
        self._store.note_replies([_reply(new.id, answer) for new, answer in zip(news, answers, strict=True)])
        return answers

    def _request(self, ask: Ask) -> NewRequest:
        place = self._place
        return NewRequest(
            id=uuid7(),
            thread_id=place.thread.id,
            thought_id=place.thread.tip,
            voice=ask.voice,
            role=ask.source,
            prompt_digest=place.prompt,
            model=place.model,
            seed=_seed(place, ask),
        )

    async def _ask(self, ask: Ask, new: NewRequest, phase: str) -> Spoken | Declined:
        def partial(heard: Partial) -> None:
            self._hear(ask.voice, heard.text.lstrip(), phase)

        place, began = self._place, time.monotonic()
        answer = await self._choir.ask(
            ask.voice,
            request=new.id,
            thread=place.thread.id,
            mode=place.mode.name,
            context=place.turns,
            budget_ms=self._budget_ms,
            model=place.model,
            fork_seed=ask.seed or self._first_words(ask.voice, new.seed),
            greedy=ask.greedy,
            seed=new.seed,
            on_partial=None if ask.source == "branch" else partial,
        )
        if isinstance(answer, Declined):
            return answer
        return Spoken(new.id, ask, answer, time.monotonic() - began)

    def _cluster(self, spoken: Sequence[Spoken], own_p: float) -> list[Cluster]:
        candidates = [
            Candidate(
                text=s.proposal.text,
                voices=(s.ask.voice,),
                source=s.ask.source,
                p=own_p if s.ask.source == "lead" else s.ask.p,
                payload=s,
            )
            for s in spoken
        ]
        return cluster_meanings(candidates, self._place.mode.unit)

    def _order(self) -> list[str]:
        """Voices that are present, the one whose turn it is first. Raises NobodySpeaks."""
        place = self._place
        present = {
            name
            for name, state in self._choir.voices.items()
            if state.state in ("ready", "speaking") and (not state.modes or place.mode.name in state.modes)
        }
        turn = (place.depth - 1) % len(place.mode.lead)
        rotation = [*place.mode.lead[turn:], *place.mode.lead[:turn]]
        rest = [
            *(role.name for role in place.mode.voices),
            *sorted(present),
        ]  # voices written in code come last
        order = [name for name in dict.fromkeys((*rotation, *rest)) if name in present]
        if not order:
            raise NobodySpeaks("no voice of this mode is present", engine=False)
        if (
            order[0] == place.turns[-1].author and len(order) > 1
        ):  # chosen at a fork: now let another one lead
            order[:2] = order[1::-1]
        return order

    def _first_words(self, voice: str, seed: int) -> ForkSeed | None:
        """How the voice begins where the model is small: one of its role's beginnings not heard lately."""
        known = [role for role in self._place.mode.voices if role.name == voice]
        words = known[0].begin if known and self._place.begin else ()
        recent = [turn.text for turn in self._place.turns[-RECENT:]]
        fresh = [begin for begin in words if not any(text.startswith(begin) for text in recent)] or list(
            words
        )
        return ForkSeed(text=f" {fresh[seed % len(fresh)]}") if fresh else None

    def _repeats(self, text: str) -> bool:
        unit = self._place.mode.unit
        said = {normalise(turn.text, unit) for turn in self._place.turns[-RECENT:]}
        return normalise(text, unit) in said


def _seed(place: Place, ask: Ask) -> int:
    """A seed that is the same for the same place in the tree, voice and attempt: a resumed step says the same."""
    what = f"{place.lot}:{ask.voice}:{ask.source}:{ask.salt}"
    return int.from_bytes(hashlib.blake2b(what.encode(), digest_size=4).digest())


def _reply(request: str, answer: Spoken | Declined) -> NewReply:
    if isinstance(answer, Declined):
        return NewReply(
            request_id=request, outcome=_outcome(answer.code), text=answer.message, code=answer.code
        )
    return NewReply(request_id=request, outcome="proposal", text=answer.proposal.text)


def _outcome(code: str) -> Outcome:
    match code:
        case "cancelled":
            return "cancelled"
        case "gone":
            return "died"
        case "stalled":
            return "stalled"
        case _:
            return "declined"


def columns(stats: Statistics) -> dict[str, Any]:
    """Per-token statistics by column, as options keep them; `top` has id and probability of the alternatives."""
    return {
        "ids": [t.id for t in stats.tokens],
        "texts": [t.text for t in stats.tokens],
        "logp": [t.logp for t in stats.tokens],
        "entropy": [t.entropy for t in stats.tokens],
        "varentropy": [t.varentropy for t in stats.tokens],
        "margin": [t.margin for t in stats.tokens],
        "top": [[[a.id, round(a.p, 6)] for a in t.top] for t in stats.tokens],
        "n_forced": stats.n_forced,
        "exact": stats.exact,
        "prefill": stats.prefill,
        "reused": stats.reused,
    }


def signals(spoken: Spoken) -> dict[str, float | int]:
    """The step's signals as a thought keeps them: over the voice's own tokens, where the engine gave any."""
    own = spoken.own_tokens
    if not own:
        return {}
    return {
        "nll": -sum(t.logp for t in own),
        "entropy_mean": sum(t.entropy for t in own) / len(own),
        "entropy_max": max(t.entropy for t in own),
        "n_tokens": len(own),
    }


def as_option(cluster: Cluster, *, key: int | None, rank: int, prefix: tuple[int, ...]) -> NewOption:
    """A cluster as an option of a fork: its representative's words, and all the voices behind it."""
    spoken: Spoken = cluster.representative.payload
    stats = spoken.proposal.stats
    return NewOption(
        key=key,
        text=spoken.proposal.text,
        voices=cluster.voices,
        p=min(1.0, cluster.p),
        token_ids=tuple(t.id for t in stats.tokens) if stats else (),
        model=stats.model if stats else "",
        statistics=columns(stats) if stats else {},
        signals=signals(spoken),
        hidden=base64.b64decode(stats.hidden) if stats and stats.hidden else None,
        source=spoken.ask.source,
        rank=rank,
        request_ids=tuple(c.payload.request for c in cluster.members),
        prefix_len=len(prefix),
        prefix_text="".join(t.text for t in stats.tokens[: len(prefix)]).lstrip() if stats and prefix else "",
    )


def as_thought(cluster: Cluster) -> NewThought:
    """A cluster as the thought that goes on by itself."""
    spoken: Spoken = cluster.representative.payload
    stats = spoken.proposal.stats
    return NewThought(
        author=spoken.ask.voice,
        text=spoken.proposal.text,
        via="auto",
        seconds=spoken.seconds,
        token_ids=tuple(t.id for t in stats.tokens) if stats else (),
        model=stats.model if stats else "",
        signals=signals(spoken),
    )
