"""What a thread starts from before it has a history of its own: pseudo-observations, a few for each unit.

Data only. Each counts as one step; a thread keeps 500 of its own, so they matter for the first 20 steps or so.
To replace: STEPS by deciles of recorded threads whenever prompts, temperatures or the model change, VALUES by
quantiles over recorded steps, forks and others (bench/gate).
"""

from __future__ import annotations

STEPS: dict[str, tuple[tuple[float, float], ...]] = {
    "sentence": (
        (7.3, 1.45), (8.7, 1.57), (11.0, 1.65), (15.3, 1.75), (18.7, 1.84),
        (20.5, 1.98), (21.8, 2.07), (26.1, 2.13), (31.3, 2.25),
    ),
    "idea": (
        (11.5, 1.38), (14.6, 1.56), (18.2, 1.68), (24.7, 1.77), (28.1, 1.89),
        (32.5, 1.93), (39.2, 2.09), (45.6, 2.21), (49.3, 2.34),
    ),
    "line": (
        (0.9, 0.12), (1.2, 0.15), (3.3, 0.22), (3.8, 0.28), (4.5, 0.30),
        (4.7, 0.32), (5.2, 0.37), (6.1, 0.41), (7.4, 0.54),
    ),
}  # fmt: skip
"""Deciles of (nll, nll_mean), nats and nats a token, each column by itself. Measured on SmolLM2-135M-Instruct Q8_0
with the shipped prompts, `inner think --arbiter auto --budget 0`: journal 60 steps of 4 threads, brainstorm 60 of 4,
steps 42 of 6. Few: a first guess, soon overtaken by the thread's own."""

VALUES: tuple[float, ...] = (0.0,) * 16 + (0.25, 0.35, 0.45, 0.55)
"""The value of asking in twenty steps of a calm thread: four fifths are not worth a look. A choice, not a
measurement, and calmer than the half of all steps that is clear (GATE.md): so the first real fork of a thread ranks
above .9 and can be asked. The budget's bound holds whatever stands here."""
