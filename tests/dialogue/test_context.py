"""What leaves the prompt when a thread outgrows the context: never the opening, never the newest."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.context import CHUNK, TAG_TOKENS, build
from orchestrator.store import ThoughtRecord


def thought(depth: int, size: int) -> ThoughtRecord:
    return ThoughtRecord(
        id=f"t{depth}",
        seq=depth,
        thread_id="thread",
        parent_id=f"t{depth - 1}" if depth > 1 else None,
        root_id="t1",
        depth=depth,
        author="Me" if depth == 1 else "Echo",
        human=depth == 1,
        text=f"thought {depth}",
        digest="",
        choice_id=None,
        via="auto",
        seconds=0.0,
        token_ids=tuple(range(size)),
        model="m",
        signals={},
        decision_id=None,
        edited=False,
        created_at=datetime.now(UTC),
    )


def size(thought: ThoughtRecord) -> int:
    return len(thought.token_ids)


sizes = st.lists(st.integers(1, 40), min_size=1, max_size=120)


@settings(max_examples=50, deadline=None)
@given(sizes, st.integers(50, 3000))
def test_the_opening_and_the_newest_stay_and_the_rest_fits(lengths: list[int], room: int) -> None:
    path = [thought(i, n) for i, n in enumerate(lengths, 1)]
    context = build(path[0], path, room=room, length=size)
    assert context.turns[0].text == path[0].text
    assert context.turns[-1].text == path[-1].text
    assert len(context.turns) + context.left_out == len(path)
    if len(context.turns) > 2:
        assert sum(len(turn.ids) + TAG_TOKENS for turn in context.turns) <= room


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 20), min_size=1, max_size=120), st.integers(900, 2000))
def test_the_prompts_start_stays_the_same_for_many_steps(lengths: list[int], room: int) -> None:
    path = [thought(i, n) for i, n in enumerate(lengths, 1)]
    starts = [build(path[0], path[:n], room=room, length=size).left_out for n in range(1, len(path) + 1)]
    assert starts == sorted(starts)
    assert len(set(starts)) <= 1 + len(path) / CHUNK


def test_reading_only_the_newest_thoughts_gives_the_same_context() -> None:
    path = [thought(i, 10) for i in range(1, 201)]
    whole = build(path[0], path, room=600, length=size)
    part = build(path[0], path[-60:], room=600, length=size)
    assert part == whole
    assert part.left_out > 150
