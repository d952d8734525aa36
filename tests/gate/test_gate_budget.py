"""A person is asked at the rate they allowed, whatever the scores are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.gate import AskBucket, BudgetTracker, Cooldown
from tests.gate.gate_samples import Clock

EPSILON = 1e-6
"""For the rounding of a few hundred additions; the bounds themselves are exact."""

_rates = st.floats(0.0, 1.0)
_etas = st.sampled_from([0.01, 0.05, 0.2, 1.0])
_steps = st.lists(st.tuples(st.floats(0, 1), st.booleans(), st.booleans()), max_size=300)


def _run(tracker: BudgetTracker, steps: list[tuple[float, bool, bool]]) -> list[bool]:
    """What is asked over steps of (score, allowed, forced)."""
    asks = []
    for score, allowed, forced in steps:
        asks.append(tracker.decide(score, allowed, forced))
        tracker.update(asks[-1])
    return asks


class TestTracker:
    def test_the_threshold_starts_at_one_minus_the_rate_and_moves_by_eta(self) -> None:
        tracker = BudgetTracker(0.1)
        assert tracker.threshold == 0.9
        assert tracker.decide(0.91)
        tracker.update(True)
        assert tracker.threshold == pytest.approx(0.9 + 0.05 * 0.9)
        tracker.update(False)
        assert tracker.threshold == pytest.approx(0.945 - 0.05 * 0.1)

    def test_a_score_at_the_threshold_is_not_asked(self) -> None:
        assert not BudgetTracker(0.1).decide(0.9)

    def test_deciding_changes_nothing(self) -> None:
        tracker = BudgetTracker(0.1)
        assert [tracker.decide(1.0), tracker.decide(1.0), tracker.threshold] == [True, True, 0.9]

    def test_the_threshold_never_falls_below_zero(self) -> None:
        tracker = BudgetTracker(0.9, eta=1.0)
        tracker.update(False)
        assert tracker.threshold == 0.0

    def test_a_rate_of_zero_never_asks(self) -> None:
        assert _run(BudgetTracker(0.0), [(1.0, True, False)] * 50) == [False] * 50

    @pytest.mark.parametrize("rate", [-0.1, 1.1, float("nan")])
    def test_a_rate_that_is_no_share_is_refused(self, rate: float) -> None:
        with pytest.raises(ValueError, match="between 0 and 1"):
            BudgetTracker(rate)

    def test_a_step_that_is_not_positive_is_refused(self) -> None:
        with pytest.raises(ValueError, match="eta"):
            BudgetTracker(0.1, eta=0.0)

    @given(_rates, _etas, _steps)
    def test_any_scores_with_any_outages_stay_within_the_bound_at_every_step(
        self, b: float, eta: float, steps: list[tuple[float, bool, bool]]
    ) -> None:
        asks = _run(BudgetTracker(b, eta), [(score, allowed, False) for score, allowed, _ in steps])
        for t in range(1, len(asks) + 1):
            assert sum(asks[:t]) / t <= b + (b + eta) / (eta * t) + EPSILON

    @given(_rates, _etas, st.lists(st.sampled_from(["above", "at", "one", "outage"]), max_size=300))
    def test_an_adversary_who_sees_the_threshold_stays_within_the_bound(
        self, b: float, eta: float, moves: list[str]
    ) -> None:
        tracker, asked = BudgetTracker(b, eta), 0
        for t, move in enumerate(moves, 1):
            score = {"above": min(1.0, tracker.threshold + 1e-9), "at": min(1.0, tracker.threshold)}.get(
                move, 1.0
            )
            ask = tracker.decide(score, allowed=move != "outage")
            tracker.update(ask)
            asked += ask
            assert asked / t <= b + (b + eta) / (eta * t) + EPSILON

    @given(_rates, st.integers(0, 200), st.integers(1, 300))
    def test_a_long_outage_earns_no_more_than_the_bound_allows(
        self, b: float, outage: int, after: int
    ) -> None:
        asks = _run(BudgetTracker(b), [(1.0, False, False)] * outage + [(1.0, True, False)] * after)
        t = outage + after
        assert sum(asks) <= b * t + (b + 0.05) / 0.05 + EPSILON

    @given(_rates, _etas, _steps)
    def test_forced_asks_are_charged_and_only_those_after_the_last_free_ask_may_exceed_the_bound(
        self, b: float, eta: float, steps: list[tuple[float, bool, bool]]
    ) -> None:
        tracker = BudgetTracker(b, eta)
        total, forced_since_free = 0, 0
        for t, (score, allowed, forced) in enumerate(steps, 1):
            free = tracker.decide(score, allowed)
            ask = tracker.decide(score, allowed, forced)
            tracker.update(ask)
            total += ask
            forced_since_free = 0 if free else forced_since_free + ask
            assert total <= b * t + (b + eta) / eta + forced_since_free + EPSILON
            if free:
                assert total <= b * t + (b + eta) / eta + EPSILON

    @given(_etas, st.lists(st.tuples(st.floats(0, 1), st.booleans(), _rates), min_size=1, max_size=300))
    def test_the_bound_holds_while_a_person_changes_the_rate(
        self, eta: float, steps: list[tuple[float, bool, float]]
    ) -> None:
        tracker = BudgetTracker(steps[0][2], eta)
        total, allowance, at_last_ask = 0, 0.0, 0.0
        for score, allowed, rate in steps:
            tracker = tracker.rebased(rate)
            ask = tracker.decide(score, allowed)
            tracker.update(ask)
            total += ask
            allowance += rate
            at_last_ask = rate if ask else at_last_ask
            assert total <= allowance + (at_last_ask + eta) / eta + EPSILON

    def test_uniform_scores_are_asked_at_the_rate(self) -> None:
        scores = [(i * 0.6180339887) % 1.0 for i in range(2000)]
        asks = _run(BudgetTracker(0.1), [(s, True, False) for s in scores])
        assert sum(asks) / 2000 == pytest.approx(0.1, abs=0.01)

    def test_the_rate_holds_after_a_shift_that_would_trip_a_fixed_threshold(self) -> None:
        shifted = [(0.8 + 0.2 * ((i * 0.6180339887) % 1.0), True, False) for i in range(2000)]
        assert sum(_run(BudgetTracker(0.1), shifted)) / 2000 == pytest.approx(0.1, abs=0.01)


class TestBucket:
    def test_three_questions_in_a_row_and_then_one_as_it_refills(self) -> None:
        clock = Clock()
        bucket = AskBucket(per_minute=2, now=clock)
        for _ in range(3):
            assert bucket.ready()
            bucket.take()
        assert not bucket.ready()
        clock.at += 29.0
        assert not bucket.ready()
        clock.at += 1.0
        assert bucket.ready()

    def test_a_long_rest_fills_it_no_further_than_its_capacity(self) -> None:
        clock = Clock()
        bucket = AskBucket(3, 4, now=clock)
        bucket.take()
        clock.at += 86_400.0
        assert bucket.level(clock.at) == 3.0

    def test_a_clock_set_back_fills_it(self) -> None:
        clock = Clock()
        bucket = AskBucket(1, 1, now=clock)
        bucket.take()
        clock.at -= 3600.0
        assert bucket.ready()

    @given(st.lists(st.floats(0, 120), max_size=80), st.floats(0, 10))
    def test_no_stretch_of_time_sees_more_than_capacity_and_refill(
        self, waits: list[float], per_minute: float
    ) -> None:
        clock = Clock(0.0)
        bucket = AskBucket(3, per_minute, now=clock)
        taken: list[float] = []
        for wait in waits:
            clock.at += wait
            if bucket.ready():
                bucket.take()
                taken.append(clock.at)
        for i, start in enumerate(taken):
            for count, end in enumerate(taken[i:], 1):
                assert count <= 3 + per_minute * (end - start) / 60 + EPSILON


class TestCooldown:
    def test_it_rests_for_its_steps_after_a_question(self) -> None:
        cooldown = Cooldown(2)
        seen = []
        for asked in (True, False, False, False):
            seen.append(cooldown.over)
            cooldown.update(asked)
        assert seen == [True, False, False, True]

    def test_a_cooldown_of_nothing_is_always_over(self) -> None:
        cooldown = Cooldown(0)
        cooldown.update(True)
        assert cooldown.over
