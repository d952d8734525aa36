"""The attention budget: how often a person may be asked, with a guarantee, and how soon again.

Owns the threshold tracker, the token bucket and the cooldown. Knows nothing of what a score means, of
voices or of threads. Clocks are passed in.
"""

from __future__ import annotations

from collections.abc import Callable

ETA = 0.05
"""Step of the threshold (GATE.md): at b = .1 and T = 200 the rate is at most b + .015."""
CAPACITY = 3
"""Questions that may come in a row before the bucket has to refill (GATE.md)."""


class BudgetTracker:
    """Follows the threshold that asks about a share `rate` of all steps.

    At step t, with score s_t ∈ [0, 1]: a_t = 1 where (s_t > τ_t and allowed) or forced, else 0, and
    τ_{t+1} = max(0, τ_t + η(a_t − b)), τ_1 = 1 − b. Online quantile tracking: Gibbs & Candès 2021, "Adaptive
    conformal inference under distribution shift"; no labels are needed, because a_t is observed.

    Bound. For every sequence of scores and refusals (cooldown, outage), without forced asks:
        Σ_{t≤T} a_t ≤ bT + (b + η)/η,   that is   mean(a) ≤ b + (b + η)/(ηT).
    With forced asks, all charged to the threshold; call an ask free if s_t > τ_t and allowed, else forced,
    and let L be the last free ask (0 if none) and F the number of forced asks after L:
        Σ_{t≤T} a_t ≤ bT + (b + η)/η + F,   and, at L itself,   Σ_{t≤L} a_t ≤ bL + (b + η)/η, forced ones
        included.
    So forced asks may exceed the budget by themselves, but no free ask is ever made while the total is over
    it. Where the rate changes on the way (`rebased`), read Σ b_t for bT and the rate at L for b.

    Proof. Clipping only raises τ, so τ_L ≥ τ_1 + η Σ_{t<L} (a_t − b). A free ask at L needs τ_L < s_L ≤ 1,
    hence Σ_{t<L} (a_t − b) < (1 − τ_1)/η = b/η; the ask at L adds 1 − b. So Σ_{t≤L} a_t < bL + b/η + 1 − b
    ≤ bL + (b + η)/η. After L every ask is forced: they add F, and bL ≤ bT. With L = 0 only F remains.
    `rebased` moves τ by b_old − b_new (clipping again only raises it), so the sum telescopes to (1 − τ_1 −
    (b_1 − b_L))/η = b_L/η in the same place.
    """

    def __init__(self, rate: float, eta: float = ETA, threshold: float | None = None) -> None:
        """`threshold` goes on from a stored τ. Raises ValueError for a rate outside [0, 1] or η ≤ 0."""
        if not 0.0 <= rate <= 1.0:
            raise ValueError(f"a rate is a share of steps between 0 and 1, not {rate}")
        if not eta > 0.0:
            raise ValueError(f"eta must be positive, not {eta}")
        self.rate = rate
        self.eta = eta
        self.threshold = 1.0 - rate if threshold is None else threshold

    def decide(self, score: float, allowed: bool = True, forced: bool = False) -> bool:
        """Whether to ask at this score ∈ [0, 1]. Changes nothing: `update` does, with what really
        happened."""
        return forced or (allowed and score > self.threshold)

    def update(self, asked: bool) -> None:
        """Charge this step: once for every step, asked or not."""
        self.threshold = max(0.0, self.threshold + self.eta * (float(asked) - self.rate))

    def rebased(self, rate: float) -> BudgetTracker:
        """The tracker with another rate: the threshold moves along, so that the change is felt at once."""
        return BudgetTracker(rate, self.eta, max(0.0, self.threshold + self.rate - rate))


class AskBucket:
    """A token bucket: at most `capacity` questions at once, refilled by `per_minute`.

    In any stretch of m minutes at most capacity + per_minute · m are taken. The clock is the wall clock, so
    that the bucket outlives a restart; set back, it fills the bucket, since nothing is known of the time
    passed.
    """

    def __init__(
        self, capacity: float = CAPACITY, per_minute: float = 4.0, *, now: Callable[[], float]
    ) -> None:
        self.capacity = capacity
        self.per_minute = per_minute
        self._now = now
        self._level = float(capacity)
        self._at: float | None = None

    def level(self, at: float) -> float:
        """Questions left at time `at`, seconds."""
        if self._at is None or at < self._at:
            return float(self.capacity)
        return min(self.capacity, self._level + (at - self._at) * self.per_minute / 60.0)

    def ready(self) -> bool:
        """Whether a question may be asked now."""
        return self.level(self._now()) >= 1.0

    def take(self, at: float | None = None) -> None:
        """Count a question asked now, or at `at` when history is read back."""
        at = self._now() if at is None else at
        self._level = max(0.0, self.level(at) - 1.0)
        self._at = at


class Cooldown:
    """After a question, `steps` steps without one."""

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self._left = 0

    @property
    def over(self) -> bool:
        """Whether a question may be asked at this step."""
        return self._left == 0

    def update(self, asked: bool) -> None:
        """Count this step."""
        self._left = self.steps if asked else max(0, self._left - 1)
