"""Token statistics and sampling over one row of logits.

Owns the formulas (GATE.md's signal table: entropy, varentropy, margin, log-probability, top-k) and the sampler.
Knows nothing of llama.cpp, sequences or prompts. All entropies in nats, at T = 1, before any sampler.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from voices.engine.protocol import Sampling

Row = NDArray[np.float32]

CANDIDATES = 64
"""Tokens the sampler looks at. With min_p ≥ .02 fewer remain even on flat rows; a full sort costs ten times this."""


@dataclass(frozen=True, slots=True)
class Distribution:
    """What is kept of one softmax: log-normaliser, entropy, varentropy, margin, and the k most probable ids."""

    log_z: float
    entropy: float
    varentropy: float
    margin: float
    top_ids: NDArray[np.int64]
    top_logits: Row

    def logp(self, logit: float) -> float:
        """ln p of a token with this raw logit."""
        return min(0.0, float(logit) - self.log_z)


def top(row: Row, k: int) -> NDArray[np.int64]:
    """Ids of the k largest logits, largest first; ties by id, so that equal rows give equal answers."""
    k = min(k, row.size)
    some = np.argpartition(row, -k)[-k:]
    return some[np.lexsort((some, -row[some]))].astype(np.int64)


def distribution(row: Row, k: int = 10) -> Distribution:
    """Exact statistics of a row of logits, shape (n_vocab,).

    H = ln Z − E[x], varentropy = E[x²] − E[x]² with x = logit − max and E under the softmax: the log-probability
    is x − ln Z, so shifting by constants changes neither.
    """
    peak = float(row.max())
    x = row - np.float32(peak)
    e = np.exp(x)
    z = float(e.sum(dtype=np.float64))
    mean = float(np.dot(e, x)) / z
    square = float(np.dot(e, x * x)) / z
    ids = top(row, max(k, 2))
    p = np.exp(row[ids[:2]] - peak) / z
    return Distribution(
        log_z=peak + float(np.log(z)),
        entropy=max(0.0, float(np.log(z)) - mean),
        varentropy=max(0.0, square - mean * mean),
        margin=float(p[0] - p[1]),
        top_ids=ids[:k],
        top_logits=row[ids[:k]].copy(),
    )


def sample(
    row: Row,
    sampling: Sampling,
    random: np.random.Generator,
    *,
    recent: NDArray[np.int64],
    bans: NDArray[np.int64],
) -> int:
    """The next token id. Penalty on `recent` ids, then bans, then temperature, top-p and min-p among the
    CANDIDATES most probable tokens; temperature 0 takes the most probable."""
    work = row
    if bans.size or (sampling.repeat_penalty != 1.0 and recent.size):
        work = row.copy()
        if sampling.repeat_penalty != 1.0 and recent.size:
            seen = work[recent]
            work[recent] = np.where(seen > 0, seen / sampling.repeat_penalty, seen * sampling.repeat_penalty)
        if bans.size:
            work[bans] = -np.inf
    ids = top(work, 1 if sampling.temperature == 0 else CANDIDATES)
    if sampling.temperature == 0:
        return int(ids[0])
    x = (work[ids] - work[ids[0]]).astype(np.float64) / sampling.temperature
    p = np.exp(x)
    p /= p.sum()
    keep = p >= sampling.min_p * p[0]
    keep &= (np.cumsum(p) - p) < sampling.top_p
    p = np.where(keep, p, 0.0)
    return int(random.choice(ids, p=p / p.sum()))
