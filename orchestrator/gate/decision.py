"""The first gate: go on, or ask. Ranks what a step's signals say within the thread, and keeps the budget.

Owns the decision and its reading, the one record from which the whole state of a gate can be rebuilt. Knows
nothing of engines, buses, stores or what a person answered. Small on purpose: another gate may replace it.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from orchestrator.gate import prior
from orchestrator.gate.budget import AskBucket, BudgetTracker, Cooldown
from orchestrator.gate.cluster import Cluster
from orchestrator.gate.ranks import Scale, entropy, mid_rank
from orchestrator.gate.reason import sentence
from orchestrator.gate.signals import ForkPoint, StepSignals

GATE = "first/1"
"""Marks this gate's readings. Readings of another gate are passed over: their numbers mean something else."""
HISTORY = 500
"""Steps a rank looks back on (GATE.md)."""
CLEAR = 0.5
"""Below this rank the step goes on unasked (P: error there 8 % against 34 % base, and half the passes
saved)."""
SHOWN = 4
"""Meanings put before a person at most (GATE.md)."""
ERROR_WEIGHTS = (0.42, 0.39, 0.19)
"""Rank, fork semantic entropy, dissent in steps: in proportion to AUROC − ½ in GATE.md's pilot table, means
over its four columns with fork semantic entropy (step NLL .82, fork semantic entropy .79, dissent .64)."""
OPPORTUNITY_WEIGHTS = (0.20, 0.50, 0.30)
"""The same for journal and brainstorm, where asking is worth most where ways really part (GATE.md, fact 10
and mode table: fork semantic entropy × distance). A judgement, to be replaced by a measurement."""
WIDEST = math.log(4)
"""Nats of four equally likely meanings, the widest fork that is drawn: semantic entropy counts as a share
of it."""


@dataclass(frozen=True, slots=True)
class Profile:
    """How a mode asks: its name, target share of steps, questions a minute, steps of rest after one, unit."""

    mode: str
    rate: float
    per_minute: float
    cooldown: int
    unit: str

    def with_budget(self, budget: float | None) -> Profile:
        """The profile with a person's own rate, where they set one: it overrides the mode's."""
        return self if budget is None else replace(self, rate=budget)


@dataclass(frozen=True, slots=True)
class Screen:
    """The cheap look: u, the step's standardised surprise; its mid-rank in (0, 1); clear where that is
    below ½."""

    u: float
    rank: float
    clear: bool


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was decided about a step, and everything it was decided from (`reading`, JSON-able)."""

    asked: bool
    score: float
    threshold: float
    reason: str
    reading: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Verdict(Outcome):
    """An outcome with the meanings it was about: the one to go on with, and those to show, heaviest first."""

    best: Cluster
    shown: list[Cluster]


@dataclass(frozen=True, slots=True)
class _Parting:
    """How the clusters lie: meanings among the lead's own branches, and the voices that mean something
    else."""

    lead: str
    meanings: int
    semantic_entropy: float
    parted: tuple[str, ...]
    dissent: float
    diversity: float


def _parting(clusters: Sequence[Cluster]) -> _Parting:
    """Read the clusters.

    Fork semantic entropy is over the lead's proposal and its branches (p(C) ∝ Σ p at the fork point); where
    nothing was branched, over all clusters. dissent = share of voices whose cluster is not the lead's,
    diversity = −Σ f ln f of the voices' shares f, both over proposals of other voices: a branch is nobody's
    opinion.
    """
    home = next((c for c in clusters if c.has_lead), clusters[0])
    lead = home.voices[0] if home.voices else ""
    branched = any(m.source == "branch" for c in clusters for m in c.members)
    masses = [
        math.fsum(max(0.0, m.p) for m in c.members if m.source != "voice") if branched else c.p
        for c in clusters
    ]
    said = [{v for m in c.members if m.source == "voice" for v in m.voices} - {lead} for c in clusters]
    others = frozenset[str]().union(*said)
    parted = sorted(others - said[clusters.index(home)])
    return _Parting(
        lead=lead,
        meanings=sum(mass > 0.0 for mass in masses),
        semantic_entropy=entropy(masses),
        parted=tuple(parted),
        dissent=len(parted) / len(others) if others else 0.0,
        diversity=entropy([len(voices) for voices in said]),
    )


class Gate:
    """The gate of one thread.

    All its state comes from `history`, the readings of the thread's earlier decisions (oldest first), and
    every decision changes it through its own reading alone: a gate built anew goes on exactly as the old
    one would. So where a verdict could not be stored, drop the gate and build one from what is stored.
    `now` is the wall clock in seconds. Call `decide` or `note_clear` once for every step, and store the
    reading.
    """

    def __init__(
        self, profile: Profile, history: Sequence[Mapping[str, Any]], now: Callable[[], float]
    ) -> None:
        self.profile = profile
        self._now = now
        self._steps: deque[tuple[float, float]] = deque(maxlen=HISTORY)
        self._values: deque[float] = deque(maxlen=HISTORY)
        self._tracker = BudgetTracker(profile.rate)
        self._bucket = AskBucket(per_minute=profile.per_minute, now=now)
        self._cooldown = Cooldown(profile.cooldown)
        for reading in history:
            if reading.get("gate") == GATE:
                self._absorb(reading)
        if self._tracker.rate != profile.rate:
            self._tracker = self._tracker.rebased(profile.rate)

    @property
    def threshold(self) -> float:
        """The score the next question has to pass."""
        return self._tracker.threshold

    def screen(self, signals: StepSignals) -> Screen:
        """Rank the step among the thread's last 500 and the prior. Changes nothing.

        u is the mean of two standardised NLLs, summed and per token: the sum sees long doubtful steps, the
        mean short ones, and neither length nor one bad token hides the other. Earlier steps are
        standardised by the same median and IQR, so the rank depends on what was seen, not on when.
        """
        seen = [*prior.STEPS.get(self.profile.unit, prior.STEPS["sentence"]), *self._steps]
        sums, means = Scale.of([nll for nll, _ in seen]), Scale.of([mean for _, mean in seen])
        u = 0.5 * (sums.z(signals.nll) + means.z(signals.nll_mean))
        rank = mid_rank(u, [0.5 * (sums.z(nll) + means.z(mean)) for nll, mean in seen])
        return Screen(u, rank, rank < CLEAR)

    def note_clear(self, screen: Screen, signals: StepSignals) -> Outcome:
        """A step that goes on by itself, whatever others might say: it counts, with value and score 0."""
        return self._conclude(screen, signals, v=0.0, score=0.0, why_not="clear", reason="clear", more={})

    def decide(
        self,
        screen: Screen,
        signals: StepSignals,
        fork_point: ForkPoint | None,
        clusters: Sequence[Cluster],
        *,
        dissent: float | None = None,
    ) -> Verdict:
        """Go on with the heaviest meaning, or ask.

        v = w · (rank, fork semantic entropy / ln 4, dissent), 0 for one meaning or a clear step; the score
        is v's mid-rank among the thread's last 500 values and the prior; asked where score > τ, the
        cooldown is over and the bucket not empty. `dissent` in [0, 1] replaces the share read off the
        clusters, where the caller knows better (voices forced to different words cannot but differ). Raises
        ValueError without any cluster.
        """
        if not clusters:
            raise ValueError("there is nothing to decide: no proposal has any words")
        parting = _parting(clusters)
        share = parting.dissent if dissent is None else min(1.0, max(0.0, dissent))
        why_not = "clear" if screen.clear else "one meaning" if len(clusters) == 1 else ""
        v = score = 0.0
        if not why_not:
            spread = min(1.0, parting.semantic_entropy / WIDEST)
            weights = ERROR_WEIGHTS if self.profile.unit == "line" else OPPORTUNITY_WEIGHTS
            v = math.fsum(w * x for w, x in zip(weights, (screen.rank, spread, share), strict=True))
            score = mid_rank(v, [*prior.VALUES, *self._values])
        reason = why_not or sentence(
            parting.meanings, parting.semantic_entropy, fork_point, parting.lead, parting.parted
        )
        more = {
            "semantic_entropy": parting.semantic_entropy,
            "dissent": share,
            "diversity": parting.diversity,
            "parted": list(parting.parted),
            "meanings": len(clusters),
            "clusters": [{"p": c.p, "voices": list(c.voices), "lead": c.has_lead} for c in clusters],
            "fork_point": None if fork_point is None else fork_point.as_dict(),
        }
        outcome = self._conclude(screen, signals, v=v, score=score, why_not=why_not, reason=reason, more=more)
        return Verdict(
            outcome.asked,
            score,
            outcome.threshold,
            reason,
            outcome.reading,
            best=clusters[0],
            shown=_shown(clusters),
        )

    def _conclude(
        self,
        screen: Screen,
        signals: StepSignals,
        *,
        v: float,
        score: float,
        why_not: str,
        reason: str,
        more: Mapping[str, Any],
    ) -> Outcome:
        """Compare with the threshold, write the reading, and take it into the history."""
        at, threshold = self._now(), self._tracker.threshold
        if not why_not and not self._tracker.decide(score):
            why_not = "below threshold"
        elif not why_not and not self._cooldown.over:
            why_not = "cooldown"
        elif not why_not and self._bucket.level(at) < 1.0:
            why_not = "bucket"
        asked = not why_not
        reading = {
            "gate": GATE,
            "mode": self.profile.mode,
            "at": at,
            "signals": signals.as_dict(),
            "u": screen.u,
            "rank": screen.rank,
            "clear": screen.clear,
            **more,
            "v": v,
            "score": score,
            "threshold": threshold,
            "rate": self._tracker.rate,
            "eta": self._tracker.eta,
            "asked": asked,
            "why_not": why_not,
        }
        self._absorb(reading)
        return Outcome(asked, score, threshold, reason, reading)

    def _absorb(self, reading: Mapping[str, Any]) -> None:
        """Take one decision into the history: the only thing that changes a gate."""
        asked = bool(reading["asked"])
        self._steps.append((reading["signals"]["nll"], reading["signals"]["nll_mean"]))
        self._values.append(reading["v"])
        self._tracker = BudgetTracker(reading["rate"], reading["eta"], reading["threshold"])
        self._tracker.update(asked)
        self._cooldown.update(asked)
        if asked:
            self._bucket.take(reading["at"])


def _shown(clusters: Sequence[Cluster]) -> list[Cluster]:
    """The heaviest SHOWN, but never without the lead's own words, which were seen being spoken."""
    shown = list(clusters[:SHOWN])
    if not any(c.has_lead for c in shown):
        shown[-1:] = [c for c in clusters if c.has_lead] or shown[-1:]
    return shown
