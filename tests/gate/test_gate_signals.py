"""What a step's statistics say, and where the step was open."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.gate import fork_point, is_content, step_signals
from tests.gate.gate_samples import token
from voices.wire import Alternative, TokenStats


class TestSignals:
    def test_the_three_surprises_are_sum_mean_and_weakest_link(self) -> None:
        found = step_signals([token("I", p=0.5), token(" think", p=0.25), token(".", p=1.0)])
        assert found.nll == pytest.approx(math.log(2) + math.log(4))
        assert found.nll_mean == pytest.approx(found.nll / 3)
        assert found.nll_max == pytest.approx(math.log(4))

    def test_entropies_are_those_of_content_and_not_of_layout(self) -> None:
        found = step_signals(
            [token("Yes", 1.0), token(",", 9.0), token(" ", 9.0), token(" no", 2.0), token("\n", 9.0)]
        )
        assert (found.entropy_max, found.entropy_mean, found.varentropy_max) == (2.0, 1.5, 2.0)
        assert found.n_tokens == 5

    def test_a_step_of_punctuation_alone_is_measured_by_it(self) -> None:
        assert step_signals([token("...", 3.0)]).entropy_max == 3.0

    def test_an_empty_step_has_no_surprise_and_no_doubt(self) -> None:
        empty = step_signals([])
        assert (empty.nll, empty.entropy_max, empty.margin_min, empty.n_tokens) == (0.0, 0.0, 1.0, 0)

    def test_instability_counts_rises_above_the_lowest_entropy_so_far(self) -> None:
        calm = [token(" a", h) for h in (3.0, 2.0, 1.0, 0.5)]
        shaken = [token(" a", h) for h in (2.0, 0.1, 2.0, 0.2, 1.5)]
        assert step_signals(calm).instability == 0
        assert step_signals(shaken).instability == 2

    def test_bounds_of_a_remote_engine_are_marked_as_such(self) -> None:
        assert step_signals([token("a")], exact=False).as_dict()["exact"] is False

    @given(st.lists(st.tuples(st.text(max_size=3), st.floats(-30, 0), st.floats(0, 11)), max_size=12))
    def test_every_step_gives_finite_figures_that_json_can_hold(
        self, drawn: list[tuple[str, float, float]]
    ) -> None:
        tokens = [TokenStats(id=1, text=t, logp=p, entropy=h, varentropy=h, margin=0.1) for t, p, h in drawn]
        found = step_signals(tokens)
        assert json.loads(json.dumps(found.as_dict(), allow_nan=False)) == found.as_dict()
        assert found.nll_max <= found.nll + 1e-9
        assert found.entropy_mean <= found.entropy_max + 1e-9

    @pytest.mark.parametrize("text", [" word", "7", "é", "слово", " +", "€", "🙂"])
    def test_words_numbers_and_symbols_are_content(self, text: str) -> None:
        assert is_content(text)

    @pytest.mark.parametrize("text", ["", " ", "\n\n", ".", "…", " —", "\ufffd", "“"])
    def test_blanks_punctuation_and_broken_bytes_are_not_content(self, text: str) -> None:
        assert not is_content(text)

    def test_a_dash_is_content_only_after_a_number(self) -> None:
        assert is_content(" -", before="12")
        assert not is_content(" -", before="She left")


class TestForkPoint:
    def test_it_is_the_most_open_word(self) -> None:
        step = [
            token("You", 0.5, 0.8, He=0.1),
            token(" asked", 2.0, 0.4, _left=0.3, _said=0.2),
            token(" why", 1.0, 0.6, _him=0.3),
        ]
        fork = fork_point(step)
        assert fork is not None
        assert (fork.index, fork.before, fork.word, fork.entropy) == (1, "You", "asked", 2.0)
        assert [a.text for a in fork.alternatives] == [" asked", " left", " said"]
        assert fork.own_p == pytest.approx(0.4)

    def test_the_lead_s_own_word_comes_first_even_when_it_is_unlikely(self) -> None:
        fork = fork_point([token("You", 2.0, 0.05, He=0.6, She=0.3)])
        assert fork is not None
        assert [a.text for a in fork.alternatives] == ["You", "He", "She"]
        assert fork.at_start

    def test_spellings_of_one_word_are_one_alternative_with_their_mass_together(self) -> None:
        fork = fork_point([token(" the", 2.0, 0.3, _The=0.2, the=0.1, _a=0.15, _A=0.1)])
        assert fork is not None
        assert [a.text for a in fork.alternatives] == [" the", " a"]
        assert [a.p for a in fork.alternatives] == pytest.approx([0.6, 0.25])
        assert fork.own_p == pytest.approx(0.3)

    def test_punctuation_newlines_word_endings_and_broken_bytes_are_no_alternatives(self) -> None:
        top = {" ": 0.1, ",": 0.1, "\n": 0.1, "ing": 0.1, " a\ufffd": 0.1, " home": 0.05}
        own = token(" out", 2.0, 0.4)
        others = tuple(Alternative(id=i, text=t, p=p) for i, (t, p) in enumerate(top.items()))
        fork = fork_point([token("Go"), own.model_copy(update={"top": others})])
        assert fork is not None
        assert [a.text for a in fork.alternatives] == [" out", " home"]

    def test_a_token_inside_a_word_is_no_fork_point(self) -> None:
        step = [
            token("post", 0.5, 0.7, He=0.2),
            token("pon", 5.0, 0.3, age=0.3),
            token("ing", 4.0, 0.3, ed=0.3),
        ]
        fork = fork_point(step)
        assert fork is not None
        assert (fork.index, fork.word) == (0, "postponing")

    def test_nothing_is_open_where_no_second_word_reaches_two_percent(self) -> None:
        assert fork_point([token("You", 3.0, 0.9, He=0.019)]) is None
        assert fork_point([token("You", 3.0, 0.9, He=0.02)]) is not None

    def test_a_wider_place_without_a_second_word_is_passed_over(self) -> None:
        fork = fork_point([token("You", 6.0, 0.01), token(" ask", 1.0, 0.5, _go=0.4)])
        assert fork is not None
        assert fork.index == 1

    @pytest.mark.parametrize(
        "step", [[], [token("...", 5.0, 0.3, Yes=0.3)], [token("\n", 5.0, 0.3, Yes=0.3)]]
    )
    def test_a_step_without_content_has_none(self, step: list[TokenStats]) -> None:
        assert fork_point(step) is None

    def test_no_more_words_than_asked_for(self) -> None:
        top = dict(zip("bcdefg", (0.2, 0.15, 0.1, 0.09, 0.08, 0.07), strict=True))
        fork = fork_point([token("a", 2.0, 0.25, **top)], words=3)
        assert fork is not None
        assert [a.text for a in fork.alternatives] == ["a", "b", "c"]

    def test_digits_of_a_number_and_operators_of_a_sum_can_fork(self) -> None:
        digits = [token("is"), token(" "), token("1", 0.1), token("2", 2.0, 0.5, **{"4": 0.4}), token(".")]
        fork = fork_point(digits)
        assert fork is not None
        assert (fork.index, fork.word, [a.text for a in fork.alternatives]) == (3, "12", ["2", "4"])
        operators = [token("8", 0.1), token(" -", 2.0, 0.5, **{" +": 0.3}), token(" 3")]
        fork = fork_point(operators)
        assert fork is not None
        assert (fork.word, [a.text for a in fork.alternatives]) == ("-", [" -", " +"])

    def test_it_can_be_stored(self) -> None:
        fork = fork_point([token("You", 2.0, 0.5, He=0.4)])
        assert fork is not None
        stored = json.loads(json.dumps(fork.as_dict()))
        assert stored["alternatives"][1]["text"] == "He"
        assert stored["index"] == 0

    @given(
        st.lists(
            st.tuples(
                st.text(max_size=4),
                st.floats(-9, 0),
                st.floats(0, 11),
                st.lists(st.tuples(st.integers(0, 99), st.text(max_size=4), st.floats(0, 1)), max_size=6),
            ),
            max_size=6,
        ),
        st.integers(2, 6),
    )
    def test_whatever_the_tokens_the_alternatives_are_distinct_and_the_lead_s_is_first(
        self, drawn: list[tuple[str, float, float, list[tuple[int, str, float]]]], words: int
    ) -> None:
        tokens = [
            TokenStats(
                id=100,
                text=text,
                logp=logp,
                entropy=h,
                varentropy=0.0,
                margin=0.0,
                top=tuple(Alternative(id=i, text=t, p=p) for i, t, p in top),
            )
            for text, logp, h, top in drawn
        ]
        fork = fork_point(tokens, words=words)
        if fork is None:
            return
        assert fork.alternatives[0].id == 100
        assert 2 <= len(fork.alternatives) <= words
        assert fork.before == "".join(t.text for t in tokens[: fork.index])
        folded = [a.text.strip().casefold() for a in fork.alternatives]
        assert len(set(folded)) == len(folded)
        assert all(a.p >= 0.02 for a in fork.alternatives[1:])
