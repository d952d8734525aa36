"""The scheduler on a real context of very few cells: eviction, refusal, and equality with a fresh context."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from voices.engine.llama import Llama
from voices.engine.protocol import Failed, Generate, Part, Prompt, PromptMessage
from voices.engine.scheduler import Scheduler
from voices.engine.sequence import sentence_ended
from voices.wire import Statistics

EMPTY = Prompt(messages=(PromptMessage(role="assistant", parts=(Part(text=""),)),))


@pytest.fixture(scope="module")
def llama(model_path: Path) -> Iterator[Llama]:
    llama = Llama(model_path, cells=256, n_seq=6, threads=1, n_batch=32)
    yield llama
    llama.close()


@pytest.fixture
def scheduler(llama: Llama) -> Scheduler:
    for sequence in range(llama.n_seq):
        llama.cut(sequence, 0)
    return Scheduler(llama, window=256)


def submit(
    scheduler: Scheduler, name: str, prompt: list[int], forced: list[int], n: int, priority: int = 0
) -> None:
    request = Generate(request=name, prompt=EMPTY, stop=(), max_tokens=n, priority=priority)
    assert scheduler.submit(b"test", request, prompt, forced) is None


def drain(scheduler: Scheduler) -> tuple[dict[str, Statistics], dict[str, Failed]]:
    ended: dict[str, Statistics] = {}
    failed: dict[str, Failed] = {}
    while not scheduler.idle:
        done, lost = scheduler.step()
        ended |= {s.request.request: s.done("m").stats for s in done}
        failed |= {f.request: f for _, f in lost}
    return ended, failed


def test_a_branch_from_the_cache_equals_a_fresh_context(scheduler: Scheduler, llama: Llama) -> None:
    prompt = llama.tokenize("I said yes to the new project and now I cannot sleep. I feel that")
    submit(scheduler, "lead", prompt, [], 8)
    lead = drain(scheduler)[0]["lead"]
    forced = [t.id for t in lead.tokens[:4]] + [lead.tokens[4].top[1].id]
    submit(scheduler, "branch", prompt, forced, 6)
    branch = drain(scheduler)[0]["branch"]
    for sequence in range(llama.n_seq):
        llama.cut(sequence, 0)
    fresh_scheduler = Scheduler(llama, window=256)
    submit(fresh_scheduler, "fresh", prompt, forced, 6)
    fresh = drain(fresh_scheduler)[0]["fresh"]
    assert branch.prefill == 0
    assert fresh.reused == 0
    # another batch split: on quantised weights entropies differ by up to .13 nats (ENGINE.md, fact 14)
    for ours, theirs in zip(branch.tokens[:5], fresh.tokens[:5], strict=True):
        assert ours.id == theirs.id
        assert ours.entropy == pytest.approx(theirs.entropy, abs=0.2)
        assert ours.logp == pytest.approx(theirs.logp, abs=0.3)


def test_old_residents_make_room_and_nothing_running_is_lost(scheduler: Scheduler, llama: Llama) -> None:
    for i in range(8):
        prompt = llama.tokenize(f"Story number {i}: " + "once upon a time " * 12)
        submit(scheduler, str(i), prompt, [], 10)
        ended, failed = drain(scheduler)
        assert len(ended[str(i)].tokens) == 10
        assert not failed


def test_without_cells_the_least_urgent_gives_way_and_may_be_asked_again(
    scheduler: Scheduler, llama: Llama
) -> None:
    for i, priority in enumerate((0, 1, 2, 3)):
        prompt = llama.tokenize(f"{i} " + "different words every time we count " * 14)
        submit(scheduler, str(i), prompt, [], 20, priority)
    ended, failed = drain(scheduler)
    assert "0" in ended
    assert "3" in failed
    assert failed["3"].retryable
    assert failed["3"].code == "out_of_memory"


def test_more_requests_than_slots_wait_for_their_turn(scheduler: Scheduler, llama: Llama) -> None:
    prompt = llama.tokenize("One two three")
    for i in range(10):
        submit(scheduler, str(i), [*prompt, i + 300], [], 3)
    ended, failed = drain(scheduler)
    assert len(ended) == 10
    assert not failed


def test_sequences_decode_together_not_one_after_the_other(scheduler: Scheduler, llama: Llama) -> None:
    prompt = llama.tokenize("One two three")
    for i in range(4):
        submit(scheduler, str(i), [*prompt, i + 300], [], 12)
    drain(scheduler)
    assert scheduler.decodes <= 12 + 4


@pytest.mark.parametrize(
    ("text", "ended"),
    [
        ("It is late.", True),
        ("Is it?", True),
        ('She said "go."', True),
        ("It costs 3.", False),
        ("Dr.", False),
        ("I saw Mr. T.", False),
        ("and so", False),
        ("wait...", True),
    ],
)
def test_a_sentence_end_is_told_from_a_decimal_point_and_an_abbreviation(text: str, ended: bool) -> None:
    assert sentence_ended(text) is ended
