"""Whether a thread goes on or asks, why, and that a restart changes none of it."""

from __future__ import annotations

import json
import math
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.gate import Candidate, ForkPoint, Gate, Outcome, Profile, cluster, fork_point
from orchestrator.gate.ranks import Scale, entropy, mid_rank
from orchestrator.gate.reason import sentence
from tests.gate.gate_samples import CERTAIN, JOURNAL, STEPS, Clock, parted, signals, token

FORK = ForkPoint(3, "or the person who", "asked", 2.1, (), 0.4)
START = ForkPoint(0, "", "You", 2.1, (), 0.4)

_nlls = st.tuples(st.floats(0, 200), st.floats(0, 12))
_moves = st.lists(
    st.tuples(_nlls, st.lists(st.floats(0.01, 1), min_size=1, max_size=5), st.floats(0, 90)),
    min_size=1,
    max_size=25,
)


def _step(gate: Gate, nll: float, nll_mean: float, masses: list[float]) -> Outcome:
    """One step as the dialogue does it."""
    found = signals(nll, nll_mean)
    screen = gate.screen(found)
    if screen.clear:
        return gate.note_clear(screen, found)
    return gate.decide(screen, found, FORK, parted(*masses))


class TestScreen:
    def test_a_certain_step_is_clear_and_a_doubtful_one_is_not(self) -> None:
        gate = Gate(JOURNAL, [], Clock())
        assert gate.screen(CERTAIN).clear
        assert not gate.screen(signals()).clear

    def test_clear_is_below_the_median_of_what_was_seen(self) -> None:
        gate = Gate(JOURNAL, [], Clock())
        for nll in range(1, 101):
            found = signals(100.0 + nll, 10.0 + nll / 10)
            gate.note_clear(gate.screen(found), found)
        assert gate.screen(signals(140.0, 14.0)).clear
        assert not gate.screen(signals(160.0, 16.0)).clear

    def test_a_short_step_with_doubtful_tokens_and_a_long_one_of_many_both_count(self) -> None:
        gate = Gate(JOURNAL, [], Clock())
        middle = gate.screen(signals(23.0, 1.5)).u
        assert gate.screen(signals(23.0, 4.0)).u > middle
        assert gate.screen(signals(60.0, 1.5)).u > middle

    def test_looking_changes_nothing(self) -> None:
        gate = Gate(JOURNAL, [], Clock())
        assert gate.screen(signals()) == gate.screen(signals())

    @given(st.lists(_nlls, max_size=30), _nlls, st.sampled_from(["sentence", "idea", "line", "haiku"]))
    def test_ranks_lie_between_zero_and_one_and_do_not_hang_on_the_order_of_the_past(
        self, past: list[tuple[float, float]], step: tuple[float, float], unit: str
    ) -> None:
        ranks = []
        for order in (past, past[::-1]):
            gate = Gate(Profile("any", 0.1, 2, 0, unit), [], Clock())
            for nll in order:
                gate.note_clear(gate.screen(signals(*nll)), signals(*nll))
            ranks.append(gate.screen(signals(*step)).rank)
        assert ranks[0] == ranks[1]
        assert 0.0 < ranks[0] < 1.0


class TestDecision:
    def test_the_very_first_real_fork_of_a_thread_can_be_asked(self) -> None:
        for profile in (JOURNAL, STEPS):
            gate = Gate(profile, [], Clock())
            verdict = gate.decide(
                gate.screen(signals()), signals(), FORK, parted(0.5, 0.3, 0.2, unit=profile.unit)
            )
            assert verdict.asked
            assert verdict.score > verdict.threshold == 1.0 - profile.rate
            assert verdict.reading["why_not"] == ""

    def test_one_meaning_goes_on_however_doubtful_the_step_is(self) -> None:
        gate = Gate(JOURNAL, [], Clock())
        verdict = gate.decide(gate.screen(signals(900.0, 30.0)), signals(900.0, 30.0), FORK, parted(1.0))
        assert not verdict.asked
        assert (verdict.score, verdict.reason, verdict.reading["why_not"]) == (
            0.0,
            "one meaning",
            "one meaning",
        )
        assert verdict.best.text == "ash"

    @given(_moves, st.floats(0, 1))
    def test_neither_unanimity_nor_a_clear_step_is_ever_asked_at_any_rate(
        self, moves: Any, rate: float
    ) -> None:
        clock = Clock()
        gate = Gate(Profile("any", rate, 60, 0, "sentence"), [], clock)
        for (nll, nll_mean), masses, wait in moves:
            clock.at += wait
            outcome = _step(gate, nll, nll_mean, masses)
            if len(masses) == 1 or outcome.reading["clear"]:
                assert not outcome.asked
                assert outcome.reading["v"] == 0.0
            assert 0.0 <= outcome.score <= 1.0

    def test_a_clear_step_brought_for_decision_is_not_asked_either(self) -> None:
        gate = Gate(JOURNAL, [], Clock())
        verdict = gate.decide(gate.screen(CERTAIN), CERTAIN, FORK, parted(0.5, 0.5))
        assert (verdict.asked, verdict.reason) == (False, "clear")

    def test_nothing_to_decide_is_an_error_and_not_a_step(self) -> None:
        gate = Gate(JOURNAL, [], Clock())
        with pytest.raises(ValueError, match="no proposal has any words"):
            gate.decide(gate.screen(signals()), signals(), FORK, [])
        assert gate.threshold == 0.9

    def test_a_wider_fork_and_a_louder_dissent_are_worth_more(self) -> None:
        def value(masses: list[float], dissent: float) -> float:
            gate = Gate(JOURNAL, [], Clock())
            verdict = gate.decide(gate.screen(signals()), signals(), FORK, parted(*masses), dissent=dissent)
            return float(verdict.reading["v"])

        assert value([0.5, 0.5], 0.5) > value([0.9, 0.1], 0.5)
        assert value([0.5, 0.5], 1.0) > value([0.5, 0.5], 0.0)

    def test_semantic_entropy_is_that_of_the_lead_s_branches_and_not_of_the_voices(self) -> None:
        gate = Gate(JOURNAL, [], Clock())
        candidates = [
            Candidate("ash", ("Pulse",), "lead", 0.3),
            Candidate("birch", ("Pulse",), "branch", 0.3),
            Candidate("cedar", ("Doubt",), "voice", 5.0),
        ]
        verdict = gate.decide(gate.screen(signals()), signals(), FORK, cluster(candidates, "sentence"))
        assert verdict.reading["semantic_entropy"] == pytest.approx(math.log(2))
        assert verdict.reading["dissent"] == 1.0

    def test_without_branches_it_is_that_of_the_voices(self) -> None:
        gate = Gate(JOURNAL, [], Clock())
        candidates = [Candidate("ash", ("Pulse",), "lead", 0.5), Candidate("elm", ("Doubt",), "voice", 0.5)]
        verdict = gate.decide(gate.screen(signals()), signals(), None, cluster(candidates, "sentence"))
        assert verdict.reading["semantic_entropy"] == pytest.approx(math.log(2))

    def test_the_heaviest_goes_on_and_at_most_four_are_shown_the_lead_s_among_them(self) -> None:
        gate = Gate(JOURNAL, [], Clock())
        verdict = gate.decide(
            gate.screen(signals()), signals(), FORK, parted(0.01, 0.5, 0.2, 0.15, 0.1, 0.04)
        )
        assert verdict.best.text == "birch"
        assert [c.text for c in verdict.shown] == ["birch", "cedar", "elm", "ash"]

    def test_a_fork_is_weighed_against_the_forks_the_thread_has_had(self) -> None:
        strong = Gate(JOURNAL, [], Clock())
        calm = Gate(JOURNAL, [], Clock())
        for _ in range(20):
            _step(strong, 60.0, 3.0, [0.25, 0.25, 0.25, 0.25])
            _step(calm, 60.0, 3.0, [0.99, 0.01])
        assert _step(strong, 60.0, 3.0, [0.6, 0.4]).score < 0.6 < _step(calm, 60.0, 3.0, [0.6, 0.4]).score

    def test_a_long_thread_is_asked_at_the_rate_of_its_mode(self) -> None:
        clock, chance = Clock(), random.Random(7)
        gate, asked = Gate(JOURNAL, [], clock), 0
        for _ in range(400):
            clock.at += 20.0
            surprise = chance.lognormvariate(0.0, 0.5)
            masses = [chance.random() for _ in range(chance.randint(1, 4))]
            asked += _step(gate, 25.0 * surprise, 1.5 * surprise, masses).asked
        assert asked / 400 == pytest.approx(0.10, abs=0.02)

    def test_it_says_why_it_did_not_ask(self) -> None:
        clock = Clock()
        gate = Gate(Profile("any", 1.0, 1, 1, "sentence"), [], clock)
        whys = []
        for _ in range(8):
            whys.append(_step(gate, 60.0, 3.0, [0.5, 0.5]).reading["why_not"])
        assert whys == ["", "cooldown", "", "cooldown", "", "cooldown", "bucket", "bucket"]
        calm = Gate(JOURNAL, [], clock)
        assert _step(calm, 60.0, 3.0, [0.999, 0.001]).reading["why_not"] == "below threshold"

    def test_a_person_s_own_rate_overrides_the_mode_s(self) -> None:
        assert JOURNAL.with_budget(None) == JOURNAL
        assert JOURNAL.with_budget(0.0).rate == 0.0
        assert Gate(JOURNAL.with_budget(0.4), [], Clock()).threshold == pytest.approx(0.6)

    @given(_moves, st.floats(0, 1))
    def test_the_rate_of_questions_keeps_its_bound_whatever_is_thought(self, moves: Any, b: float) -> None:
        clock = Clock()
        gate = Gate(Profile("any", b, 60, 0, "idea"), [], clock)
        asked = 0
        for t, ((nll, nll_mean), masses, wait) in enumerate(moves * 3, 1):
            clock.at += wait
            asked += _step(gate, nll, nll_mean, masses).asked
            assert asked / t <= b + (b + 0.05) / (0.05 * t) + 1e-6


class TestRestart:
    @given(_moves, st.integers(0, 25), st.sampled_from([JOURNAL, STEPS, Profile("any", 0.9, 1, 2, "idea")]))
    def test_a_gate_rebuilt_from_stored_readings_goes_on_exactly_as_the_old_one(
        self, moves: Any, killed_at: int, profile: Profile
    ) -> None:
        clock = Clock()
        gate = Gate(profile, [], clock)
        stored: list[str] = []
        for i, ((nll, nll_mean), masses, wait) in enumerate(moves):
            clock.at += wait
            if i == killed_at:
                fresh = Gate(profile, [json.loads(row) for row in stored], clock)
                assert fresh.threshold == gate.threshold
                assert fresh.screen(signals(nll, nll_mean)) == gate.screen(signals(nll, nll_mean))
                twin = _step(Gate(profile, [json.loads(row) for row in stored], clock), nll, nll_mean, masses)
                assert twin == _step(gate, nll, nll_mean, masses)
                gate = fresh
            stored.append(json.dumps(_step(gate, nll, nll_mean, masses).reading, allow_nan=False))

    def test_readings_of_another_gate_are_passed_over(self) -> None:
        assert Gate(JOURNAL, [{"gate": "full/7", "asked": True}], Clock()).threshold == 0.9

    def test_a_changed_budget_is_felt_at_once_and_keeps_what_was_spent(self) -> None:
        clock = Clock()
        gate = Gate(JOURNAL, [], clock)
        reading = _step(gate, 60.0, 3.0, [0.5, 0.5]).reading
        assert reading["asked"]
        more = Gate(JOURNAL.with_budget(0.4), [reading], clock)
        assert more.threshold == pytest.approx(gate.threshold - 0.3)

    def test_the_reading_holds_every_signal_and_the_whole_decision(self) -> None:
        fork = fork_point([token("You", 2.0, 0.5, He=0.4)])
        gate = Gate(JOURNAL, [], Clock(42.0))
        found = signals()
        reading = gate.decide(gate.screen(found), found, fork, parted(0.5, 0.5)).reading
        assert reading["signals"] == found.as_dict()
        assert {"u", "rank", "v", "score", "threshold", "rate", "asked", "why_not", "diversity"} <= set(
            reading
        )
        assert (reading["at"], reading["mode"], reading["meanings"]) == (42.0, "journal", 2)
        assert reading["fork_point"]["word"] == "You"


class TestReason:
    def test_it_is_one_plain_sentence(self) -> None:
        assert sentence(2, 0.94, FORK, "Pulse", ["Doubt", "Shift"]) == (
            "two meanings at “asked”, 0.9 nats · Doubt and Shift part from Pulse"
        )

    def test_at_the_very_start_there_are_ways_to_begin(self) -> None:
        assert sentence(3, 1.1, START, "Pulse", []) == "three ways to begin, 1.1 nats"

    def test_where_only_voices_part_only_they_are_named(self) -> None:
        assert sentence(1, 0.0, FORK, "Pulse", ["Doubt"]) == "Doubt parts from Pulse"
        assert (
            sentence(1, 0.0, None, "Pulse", ["Doubt", "Echo", "Shift"])
            == "Doubt, Echo and Shift part from Pulse"
        )

    def test_a_very_long_word_is_cut(self) -> None:
        long = ForkPoint(1, "x", "y" * 300, 1.0, (), 0.5)
        assert len(sentence(2, 0.7, long, "Pulse", [])) < 60

    def test_a_verdict_names_the_voices_that_part(self) -> None:
        gate = Gate(JOURNAL, [], Clock())
        verdict = gate.decide(gate.screen(signals()), signals(), FORK, parted(0.5, 0.5))
        assert verdict.reason == "two meanings at “asked”, 0.7 nats · Doubt parts from Pulse"


class TestRanks:
    def test_equals_share_the_middle_of_their_places(self) -> None:
        assert mid_rank(2.0, [1.0, 2.0, 2.0, 3.0]) == pytest.approx(2.5 / 5)
        assert mid_rank(0.0, []) == 0.5

    @given(st.lists(st.floats(-5, 5), min_size=1, max_size=40))
    def test_the_ranks_of_a_sample_in_itself_are_uniform_on_average(self, sample: list[float]) -> None:
        ranks = [mid_rank(x, sample[:i] + sample[i + 1 :]) for i, x in enumerate(sample)]
        assert sum(ranks) / len(ranks) == pytest.approx(0.5)

    def test_the_scale_is_median_and_interquartile_range_and_never_nothing(self) -> None:
        assert Scale.of([1.0, 2.0, 3.0, 4.0, 5.0]) == Scale(3.0, 2.0)
        assert Scale.of([7.0] * 9).spread == pytest.approx(0.7)
        assert Scale.of([0.0]).z(0.0) == 0.0

    def test_entropy_is_in_nats_of_the_normalised_weights(self) -> None:
        assert entropy([3.0, 3.0]) == pytest.approx(math.log(2))
        assert entropy([]) == entropy([0.0]) == entropy([5.0, 0.0]) == 0.0
