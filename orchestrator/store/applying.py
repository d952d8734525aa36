"""A choice becomes a thought, exactly once.

Owns what the thought is made of and when the tip follows. Needs a writing transaction; used by the orchestrator's
loop, and by undo for a choice that was not applied yet.
"""

from __future__ import annotations

from typing import Any

from orchestrator.errors import StoreError
from orchestrator.store import facts, queries
from orchestrator.store.base import Pen
from orchestrator.store.records import ChoiceRecord, ForkRecord, NewThought, OptionRecord, ThoughtRecord


def apply(pen: Pen, fork: ForkRecord) -> ThoughtRecord | None:
    """Say what was chosen. None where there is nothing to say: "none of these", or applied before.

    The tip follows if it is still where the fork was. A person's choice gives the thread its stride again; an
    automatic one uses up one of what remains.
    """
    chosen = fork.choice
    if chosen is None or not facts.waits(pen.connection, fork):
        return None
    at = queries.get_thread(pen.connection, fork.thread_id)
    parent = queries.get_thought(pen.connection, fork.thought_id)
    person = queries.get_thought(pen.connection, parent.root_id).author
    said = facts.insert_thought(
        pen,
        _said(fork, chosen, person),
        at.id,
        parent,
        choice_id=chosen.id,
        decision_id=fork.decision_id,
    )
    if at.tip == fork.thought_id:
        remaining = max(0, at.remaining - 1) if chosen.via == "auto" else at.stride
        facts.move_tip(pen, at.id, at.tip, said.id, remaining=remaining)
    return said


def _said(fork: ForkRecord, chosen: ChoiceRecord, person: str) -> NewThought:
    """Token ids, model and signals belong to the words as they were generated: not to edited or own ones."""
    told: dict[str, Any] = {"via": chosen.via, "seconds": chosen.seconds}
    if chosen.kind == "own":
        return NewThought(author=person, human=True, text=chosen.text or "", **told)
    option = _option(fork, chosen)
    author = option.voices[0]
    if chosen.kind == "edit":
        return NewThought(author=author, text=chosen.text or "", edited=True, **told)
    return NewThought(
        author=author,
        text=option.text,
        token_ids=option.token_ids,
        model=option.model,
        signals=option.signals,
        **told,
    )


def _option(fork: ForkRecord, chosen: ChoiceRecord) -> OptionRecord:
    for option in fork.options:
        if option.id == chosen.option_id:
            return option
    raise StoreError(f"Choice {chosen.id} names an option its fork does not have.", "Run `inner doctor`.")
