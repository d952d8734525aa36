"""The formulas, against plain definitions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from voices.engine.protocol import Sampling
from voices.engine.statistics import distribution, sample, top

rows = arrays(np.float32, st.integers(2, 300), elements=st.floats(-30, 30, width=32))
nothing = np.asarray([], np.int64)


@given(rows)
def test_entropy_varentropy_and_margin_are_those_of_the_softmax(row: np.ndarray) -> None:
    x = row.astype(np.float64)
    p = np.exp(x - x.max())
    p /= p.sum()
    logp = np.log(p, where=p > 0, out=np.zeros_like(p))
    entropy = -np.sum(p * logp)
    first, second = np.sort(p)[::-1][:2]
    found = distribution(row)
    assert found.entropy == pytest.approx(entropy, abs=2e-4)
    assert found.varentropy == pytest.approx(np.sum(p * (logp + entropy) ** 2), abs=5e-3)
    assert found.margin == pytest.approx(first - second, abs=1e-5)
    assert found.logp(float(row[0])) == pytest.approx(np.log(max(p[0], 1e-300)), abs=1e-3)


@given(rows, st.integers(1, 20))
def test_top_is_the_head_of_a_full_sort_with_ties_by_id(row: np.ndarray, k: int) -> None:
    # argpartition may cut anywhere inside a tie, so compare values, and ids where values differ
    found = top(row, k)
    assert list(row[found]) == sorted(row, reverse=True)[: len(found)]


@given(rows)
def test_adding_a_constant_to_all_logits_changes_no_statistic(row: np.ndarray) -> None:
    a, b = distribution(row), distribution(row + np.float32(3))
    assert a.entropy == pytest.approx(b.entropy, abs=1e-3)
    assert a.margin == pytest.approx(b.margin, abs=1e-4)


@given(rows, st.integers(0, 2**32 - 1))
def test_a_banned_token_is_never_drawn(row: np.ndarray, seed: int) -> None:
    best = int(np.argmax(row))
    for temperature in (0.0, 0.8):
        drawn = sample(
            row,
            Sampling(temperature=temperature, seed=seed),
            np.random.default_rng(seed),
            recent=nothing,
            bans=np.asarray([best]),
        )
        assert drawn != best


def test_temperature_zero_takes_the_most_probable_token() -> None:
    row = np.asarray([0.1, 5.0, 4.9], np.float32)
    assert sample(row, Sampling(), np.random.default_rng(0), recent=nothing, bans=nothing) == 1


def test_the_repeat_penalty_weakens_what_was_just_said_and_leaves_the_row_alone() -> None:
    row = np.asarray([2.0, 1.9], np.float32)
    said = np.asarray([0])
    drawn = sample(row, Sampling(repeat_penalty=1.5), np.random.default_rng(0), recent=said, bans=nothing)
    assert drawn == 1
    assert list(row) == [2.0, np.float32(1.9)]


def test_sampling_follows_the_softmax_at_its_temperature() -> None:
    row = np.log(np.asarray([0.5, 0.3, 0.2], np.float32))
    random = np.random.default_rng(1)
    sampling = Sampling(temperature=1.0, top_p=1.0, min_p=0.0)
    drawn = [sample(row, sampling, random, recent=nothing, bans=nothing) for _ in range(4000)]
    shares = np.bincount(drawn, minlength=3) / len(drawn)
    assert shares == pytest.approx([0.5, 0.3, 0.2], abs=0.03)
