"""Why a step stopped, in one plain sentence.

Owns the words only. Knows nothing of scores and thresholds.
"""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.gate.signals import ForkPoint

COUNTS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
LONGEST_WORD = 24
"""Characters of a quoted word; the line has to fit a phone."""


def sentence(meanings: int, nats: float, fork: ForkPoint | None, lead: str, parted: Sequence[str]) -> str:
    """For instance: two meanings at “asked”, 0.9 nats · Doubt and Shift part from Pulse.

    `meanings` at the fork point (fewer than two: only the voices part), `nats` their entropy, `parted` the
    voices that mean something else than `lead`.
    """
    parts = []
    if meanings > 1:
        count = COUNTS[meanings] if meanings < len(COUNTS) else str(meanings)
        parts.append(f"{count} {_where(fork)}, {nats:.1f} nats")
    if parted and lead:
        parts.append(f"{_names(parted)} {'parts' if len(parted) == 1 else 'part'} from {lead}")
    return " · ".join(parts) or "different meanings"


def _where(fork: ForkPoint | None) -> str:
    if fork is None:
        return "meanings"
    if fork.at_start:
        return "ways to begin"
    short = fork.word if len(fork.word) <= LONGEST_WORD else fork.word[: LONGEST_WORD - 1] + "…"
    return f"meanings at “{short}”"


def _names(names: Sequence[str]) -> str:
    """Doubt · Doubt and Shift · Doubt, Echo and Shift."""
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last
