"""Steps, clusters and clocks for the gate's tests: small scripted data, no model."""

from __future__ import annotations

import math

from orchestrator.gate import Candidate, Cluster, Profile, StepSignals, cluster
from voices.wire import Alternative, TokenStats

JOURNAL = Profile(mode="journal", rate=0.10, per_minute=2, cooldown=1, unit="sentence")
STEPS = Profile(mode="steps", rate=0.15, per_minute=4, cooldown=0, unit="line")


class Clock:
    """A wall clock that moves only when told."""

    def __init__(self, at: float = 1_700_000_000.0) -> None:
        self.at = at

    def __call__(self) -> float:
        return self.at


def token(text: str, entropy: float = 0.1, p: float = 0.9, **top: float) -> TokenStats:
    """A token with its entropy and probability; `top` names alternatives, an underscore standing for a space."""
    own = Alternative(id=_id(text), text=text, p=p)
    others = [
        Alternative(id=_id(t), text=t, p=q) for t, q in ((k.replace("_", " "), q) for k, q in top.items())
    ]
    return TokenStats(
        id=own.id,
        text=text,
        logp=math.log(p),
        entropy=entropy,
        varentropy=entropy,
        margin=0.5,
        top=(own, *others),
    )


def _id(text: str) -> int:
    return sum(ord(c) << 9 * i for i, c in enumerate(text)) % 49_157


def signals(nll: float = 60.0, nll_mean: float = 3.0) -> StepSignals:
    """A doubtful step, unless told otherwise: far above every prior."""
    return StepSignals(
        nll=nll,
        nll_mean=nll_mean,
        nll_max=5.0,
        entropy_mean=2.0,
        entropy_max=4.0,
        varentropy_max=3.0,
        margin_min=0.02,
        n_tokens=20,
        instability=2,
        exact=True,
    )


CERTAIN = signals(nll=0.5, nll_mean=0.05)


def parted(*masses: float, unit: str = "sentence") -> list[Cluster]:
    """Clusters of a lead and its branches with these masses, one voice with the lead and one against it."""
    words = ["ash", "birch", "cedar", "elm", "fir", "yew"]
    candidates = [
        Candidate(words[i], ("Pulse",), "lead" if i == 0 else "branch", mass) for i, mass in enumerate(masses)
    ]
    candidates.append(Candidate(words[0], ("Echo",), "voice", 0.0))
    candidates.append(Candidate(words[min(1, len(masses) - 1)], ("Doubt",), "voice", 0.0))
    return cluster(candidates, unit)
