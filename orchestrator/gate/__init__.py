"""The gate: decides whether a thread goes on by itself or asks its arbiter, and keeps the attention budget.

Pure logic: no clocks of its own, no files, no sockets, no numpy. One step, in order: `step_signals`,
`Gate.screen`; where it is clear `Gate.note_clear`; else `fork_point`, proposals, `cluster`, `Gate.decide`.
The reading of every outcome is stored, and a `Gate` is rebuilt from stored readings alone.
"""

from orchestrator.gate.budget import AskBucket, BudgetTracker, Cooldown
from orchestrator.gate.cluster import Candidate, Cluster, cluster, normalise
from orchestrator.gate.decision import Gate, Outcome, Profile, Screen, Verdict
from orchestrator.gate.signals import ForkPoint, StepSignals, fork_point, is_content, step_signals

__all__ = [
    "AskBucket",
    "BudgetTracker",
    "Candidate",
    "Cluster",
    "Cooldown",
    "ForkPoint",
    "Gate",
    "Outcome",
    "Profile",
    "Screen",
    "StepSignals",
    "Verdict",
    "cluster",
    "fork_point",
    "is_content",
    "normalise",
    "step_signals",
]
