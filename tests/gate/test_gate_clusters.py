"""One meaning is shown once; two meanings are never called one."""

from __future__ import annotations

import random
import re
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.gate import Candidate, cluster, normalise
from orchestrator.gate.cluster import LINE_STOP_WORDS

UNITS = ("sentence", "idea", "line")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("You said yes.", "you said, yes!"),
        ("It is the night", "It is night…"),
        ("I don't know", "I do not know"),
        ("You can’t sleep", "You cannot sleep."),
        ("I'm here", "I am here"),
        ("Ну вот, я же устал", "я устал"),
        ("It costs 1,000 euros", "It costs 1000 euros"),
        ("**Call** him", "Call him"),
        ("- call him", "call him"),
    ],
)
def test_wording_that_changes_nothing_is_one_meaning_in_every_use(one: str, other: str) -> None:
    for unit in UNITS:
        assert normalise(one, unit) == normalise(other, unit)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("3 * 4 = 12", "3×4=12"),
        ("3*4=12", "4 * 3 = 12."),
        ("So, 12 - 2 = 10", "Then 12−2 = 10"),
        ("three times four equals 12", "3 * 4 = 12"),
        ("It is 3.50 each", "It is 3.5 each"),
        ("1 + 2 + 3", "3 + 1 + 2"),
    ],
)
def test_a_line_of_calculation_is_read_by_its_values(one: str, other: str) -> None:
    assert normalise(one, "line") == normalise(other, "line")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("It is too late", "It is never too late"),
        ("You can sleep", "You can't sleep"),
        ("Ты можешь", "Ты не можешь"),
        ("It is 12", "It is 14"),
        ("It is 3.5", "It is 35"),
        ("It is 3.5", "It is 3, 5"),
        ("It is -5", "It is 5"),
        ("5²", "52"),
        ("5 - 3", "5, 3"),
        ("5 - 3", "5 + 3"),
        ("6 / 3", "6 * 3"),
        ("2**3", "2 3"),
        ("2*3", "2**3"),
        ("(3+4)*2", "3+4*2"),
        ("x - 5", "x + 5"),
        ("8 - 3 + 2", "8 - 2 + 3"),
        ("8 / 2 * 4", "8 / 4 * 2"),
        ("2 + 3 * 4", "3 + 2 * 4"),
        ("5! = 120", "5 = 120"),
        ("50%", "50"),
        ("9:40", "940"),
        ("I called you", "You called me"),
        ("Ann eats 2", "Ben eats 2"),
    ],
)
def test_numbers_signs_negations_and_persons_make_two_meanings_in_every_use(one: str, other: str) -> None:
    for unit in UNITS:
        assert normalise(one, unit) != normalise(other, unit)


def test_no_stop_word_negates_counts_or_points_at_a_person() -> None:
    telling = {"no", "not", "never", "none", "nor", "without", "не", "нет", "ни", "никогда", "без"}
    telling |= {"i", "you", "he", "she", "we", "they", "me", "my", "your", "я", "ты", "он", "она", "мы", "вы"}
    assert not telling & LINE_STOP_WORDS
    assert not any(word.isdigit() for word in LINE_STOP_WORDS)


_words = ["you", "call", "him", "not", "never", "no", "don't", "home", ",", ".", "a", "the", "so"]
_parts = st.lists(st.sampled_from([*_words, "2", "3", "12", "-5", "4.5", "0"]), min_size=1, max_size=7)


def _numbers(text: str) -> Counter[str]:
    return Counter(re.findall(r"(?<!\S)-?\d+(?:\.\d+)?", text))


def _negations(text: str) -> int:
    return len(re.findall(r"\b(?:not|never|no|don't)\b", text))


@given(_parts, _parts, st.sampled_from(UNITS))
def test_texts_that_differ_in_a_number_or_a_negation_are_never_one(
    a: list[str], b: list[str], unit: str
) -> None:
    one, other = " ".join(a), " ".join(b)
    if _numbers(one) != _numbers(other) or _negations(one) != _negations(other):
        assert normalise(one, unit) != normalise(other, unit)


@given(st.text(max_size=80), st.sampled_from(UNITS))
def test_any_text_has_a_normal_form_that_spaces_around_it_do_not_change(text: str, unit: str) -> None:
    assert normalise(f"  {text}\n", unit) == normalise(text, unit)


def test_a_text_of_stop_words_alone_keeps_them() -> None:
    assert normalise("The", "sentence") == "the"


_candidates = st.lists(
    st.builds(
        Candidate,
        text=st.sampled_from(["Call him.", "call him", "Don't call him", "12", "14", "", "…", "The call"]),
        voices=st.lists(st.sampled_from(["Echo", "Pulse", "Doubt", "Shift"]), min_size=1, max_size=2).map(
            tuple
        ),
        source=st.sampled_from(["lead", "branch", "voice"]),
        p=st.floats(0, 1),
    ),
    max_size=8,
)


class TestClusters:
    def test_texts_of_one_meaning_come_once_with_all_voices_behind_them(self) -> None:
        (only,) = cluster(
            [
                Candidate("Call him!", ("Doubt",), "voice", 0.5),
                Candidate("Call him.", ("Pulse",), "lead", 0.2),
                Candidate("call him", ("Echo", "Doubt"), "voice", 0.1),
            ],
            "sentence",
        )
        assert only.voices == ("Pulse", "Doubt", "Echo")
        assert only.p == pytest.approx(1.0)

    def test_the_lead_s_own_words_stand_for_their_cluster_and_the_likeliest_for_the_others(self) -> None:
        clusters = cluster(
            [
                Candidate("Sleep!", ("Echo",), "voice", 0.4),
                Candidate("Sleep.", ("Pulse",), "lead", 0.1),
                Candidate("Wake!", ("Doubt",), "voice", 0.1),
                Candidate("Wake.", ("Shift",), "voice", 0.2),
            ],
            "sentence",
        )
        assert [c.text for c in clusters] == ["Sleep.", "Wake."]
        assert [c.has_lead for c in clusters] == [True, False]
        assert [c.p for c in clusters] == pytest.approx([0.625, 0.375])

    def test_empty_and_wordless_texts_are_dropped(self) -> None:
        blank = [Candidate(text, ("Echo",), "voice", 1.0) for text in ("", "  \n", "…", "?!")]
        assert cluster(blank, "sentence") == []
        (kept,) = cluster([*blank, Candidate("yes", ("Pulse",), "lead", 0.5)], "sentence")
        assert kept.p == 1.0

    def test_without_any_weight_every_candidate_counts_the_same(self) -> None:
        clusters = cluster([Candidate(t, ("Echo",), "voice", 0.0) for t in ("a1", "b1", "B1")], "idea")
        assert [c.key for c in clusters] == ["b1", "a1"]
        assert [c.p for c in clusters] == pytest.approx([2 / 3, 1 / 3])

    def test_the_payload_comes_back_untouched(self) -> None:
        payload = object()
        (only,) = cluster([Candidate("yes", ("Pulse",), "lead", 1.0, payload)], "sentence")
        assert only.representative.payload is payload

    @given(_candidates, st.randoms(use_true_random=False), st.sampled_from(UNITS))
    def test_the_order_of_candidates_changes_nothing(
        self, candidates: list[Candidate], shuffler: random.Random, unit: str
    ) -> None:
        shuffled = list(candidates)
        shuffler.shuffle(shuffled)
        assert cluster(shuffled, unit) == cluster(candidates, unit)

    @given(_candidates, st.sampled_from(UNITS))
    def test_nobody_is_lost_and_the_shares_are_one_and_fall(
        self, candidates: list[Candidate], unit: str
    ) -> None:
        clusters = cluster(candidates, unit)
        worded = [c for c in candidates if normalise(c.text, unit)]
        assert sum(len(c.members) for c in clusters) == len(worded)
        assert {v for c in clusters for v in c.voices} == {v for c in worded for v in c.voices}
        if clusters:
            assert sum(c.p for c in clusters) == pytest.approx(1.0)
            assert [c.p for c in clusters] == sorted((c.p for c in clusters), reverse=True)
