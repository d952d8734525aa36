"""What a thread starts from before it has a history of its own: pseudo-observations, a few for each unit.

Data only. Each counts as one step; a thread keeps 500 of its own, so they matter for the first 20 steps or so.
To replace: STEPS by deciles of recorded threads whenever prompts, temperatures or the model change, VALUES by
quantiles over recorded steps, forks and others (bench/gate).
"""

from __future__ import annotations

STEPS: dict[str, tuple[tuple[float, float], ...]] = {
    "sentence": (
        (9.0, 0.55), (11.0, 0.65), (13.0, 1.20), (16.0, 1.25), (20.0, 1.45),
        (22.0, 1.55), (23.0, 1.65), (24.0, 1.75), (28.0, 2.00),
    ),
    "idea": (
        (12.0, 0.75), (14.0, 1.05), (17.0, 1.10), (18.0, 1.20), (22.0, 1.40),
        (29.0, 1.45), (36.0, 1.65), (37.0, 1.75), (41.0, 1.95),
    ),
    "line": (
        (1.0, 0.10), (3.3, 0.16), (4.2, 0.18), (4.9, 0.22), (5.2, 0.24),
        (6.1, 0.26), (6.7, 0.33), (6.9, 0.35), (7.8, 0.39),
    ),
}  # fmt: skip
"""Deciles of (nll, nll_mean), nats and nats a token, each column by itself. Measured on SmolLM2-135M-Instruct Q8_0
with the shipped prompts of journal, brainstorm and steps: 25 steps a mode, 5 a thread. Few: a first guess."""

VALUES: tuple[float, ...] = (0.0,) * 16 + (0.25, 0.35, 0.45, 0.55)
"""The value of asking in twenty steps of a calm thread: four fifths are not worth a look. A choice, not a
measurement, and calmer than the half of all steps that is clear (GATE.md): so the first real fork of a thread ranks
above .9 and can be asked. The budget's bound holds whatever stands here."""
