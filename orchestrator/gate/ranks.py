"""Where a number stands among earlier ones: mid-ranks, a robust scale, entropy of shares.

Owns arithmetic only. Knows nothing of steps, threads or modes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


def mid_rank(x: float, sample: Sequence[float]) -> float:
    """The rank of x among n earlier values and itself, in (0, 1): (#below + ½ #equal + ½) / (n + 1)."""
    below = sum(y < x for y in sample)
    equal = sum(y == x for y in sample)
    return (below + 0.5 * equal + 0.5) / (len(sample) + 1)


def entropy(weights: Sequence[float]) -> float:
    """−Σ p ln p in nats of weights normalised to 1; 0 where there are none."""
    total = math.fsum(weights)
    shares = [w / total for w in weights if w > 0.0] if total > 0.0 else []
    return max(0.0, -math.fsum(p * math.log(p) for p in shares if p > 0.0))


@dataclass(frozen=True, slots=True)
class Scale:
    """Median and interquartile range of a sample: what a z-score is made of where outliers are the point."""

    middle: float
    spread: float

    @classmethod
    def of(cls, sample: Sequence[float]) -> Scale:
        """The scale of a non-empty sample. Where half of it is one value, a tenth of that value is the
        spread."""
        ordered = sorted(sample)
        low, middle, high = (_quantile(ordered, q) for q in (0.25, 0.5, 0.75))
        return cls(middle, max(high - low, 0.1 * abs(middle), 1e-6))

    def z(self, x: float) -> float:
        """(x − median) / IQR."""
        return (x - self.middle) / self.spread


def _quantile(ordered: Sequence[float], q: float) -> float:
    """Linear between order statistics (type 7 of Hyndman & Fan 1996, numpy's default)."""
    place = q * (len(ordered) - 1)
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])
