"""Children are kept alive, and none of them outlives its supervisor."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from orchestrator.errors import PartFailed
from orchestrator.process import Part, Restarts
from orchestrator.supervise import STATE_FILE, Supervisor
from tests.supervise.helpers import gone, pids, until

QUICK = 0.01


def part(name: str, what: str, path: Path, *, essential: bool = True, **more: object) -> Part:
    args = (*what.split(), str(path))
    return Part(name, "tests.supervise.fake_child", args, essential=essential, **more)  # type: ignore[arg-type]


@pytest.fixture
async def supervisor(tmp_path: Path) -> AsyncIterator[Supervisor]:
    made = Supervisor(
        tmp_path / "logs", state_file=tmp_path / STATE_FILE, restarts=lambda: Restarts(first=QUICK)
    )
    yield made
    made.kill()
    await made.stop()


async def test_a_killed_child_is_started_again(supervisor: Supervisor, tmp_path: Path) -> None:
    lives = tmp_path / "lives"
    await supervisor.start([part("Doubt", "live", lives)])
    await until(lambda: len(pids(lives)) == 1)
    os.kill(pids(lives)[0], signal.SIGKILL)
    await until(lambda: len(pids(lives)) == 2)
    assert gone(pids(lives)[0])
    assert not gone(pids(lives)[1])


async def test_a_child_that_crashed_a_few_times_settles(supervisor: Supervisor, tmp_path: Path) -> None:
    lives = tmp_path / "lives"

    async def third_life() -> None:
        await until(lambda: len(pids(lives)) == 3)

    await supervisor.start([part("Doubt", "crash-until 3", lives, probe=third_life)])
    child = supervisor.children["Doubt"]
    assert child.state == "ready"
    assert child.restarts.count == 2


async def test_it_is_ready_only_when_its_probe_says_so(supervisor: Supervisor, tmp_path: Path) -> None:
    asked, answer = asyncio.Event(), asyncio.Event()

    async def probe() -> None:
        asked.set()
        await answer.wait()

    starting = asyncio.create_task(
        supervisor.start([part("engine", "live", tmp_path / "lives", probe=probe)])
    )
    await asked.wait()
    assert supervisor.children["engine"].state == "starting"
    answer.set()
    await starting
    assert supervisor.children["engine"].state == "ready"


async def test_an_essential_child_that_keeps_dying_ends_the_start_with_its_last_words(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    lives = tmp_path / "lives"
    never = asyncio.Event()
    with pytest.raises(PartFailed) as caught:
        await supervisor.start([part("engine", "crash", lives, probe=never.wait)])
    assert len(pids(lives)) == 6
    assert "engine" in caught.value.message
    assert "6th time" in caught.value.message
    assert caught.value.hint.endswith("ValueError: this is why")
    assert str(tmp_path / "logs" / "engine.log") in caught.value.hint


async def test_a_voice_that_keeps_dying_leaves_the_others_alone(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    never = asyncio.Event()
    await supervisor.start(
        [
            part("Doubt", "crash", tmp_path / "doubt", essential=False, probe=never.wait),
            part("Echo", "live", tmp_path / "echo", essential=False),
        ]
    )
    assert supervisor.children["Doubt"].state == "dead"
    assert supervisor.children["Echo"].state == "ready"
    assert not supervisor.failed.done()


async def test_a_voice_that_is_never_ready_is_not_waited_for_for_ever(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    never = asyncio.Event()
    slow = part("Doubt", "live", tmp_path / "doubt", essential=False, probe=never.wait)
    await supervisor.start([slow, part("ui", "live", tmp_path / "ui")], patience=0.05)
    assert supervisor.children["ui"].state == "ready"
    assert supervisor.children["Doubt"].state == "starting"


async def test_what_cannot_get_better_is_not_tried_again(supervisor: Supervisor, tmp_path: Path) -> None:
    lives = tmp_path / "lives"
    never = asyncio.Event()
    with pytest.raises(PartFailed, match="not a GGUF"):
        await supervisor.start([part("engine", "hopeless", lives, probe=never.wait)])
    assert len(pids(lives)) == 1


async def test_watching_ends_when_an_essential_child_dies_for_good(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    lives = tmp_path / "lives"
    await supervisor.start([part("orchestrator", "crash-until 1", lives)])
    supervisor.children["orchestrator"].restarts.limit = 0
    await until(lambda: len(pids(lives)) == 1)
    os.kill(pids(lives)[0], signal.SIGKILL)
    with pytest.raises(PartFailed, match="killed by SIGKILL"):
        await supervisor.watch()


class TestStopping:
    async def test_ends_all_of_them(self, supervisor: Supervisor, tmp_path: Path) -> None:
        files = [tmp_path / str(n) for n in range(3)]
        await supervisor.start([part(f.name, "live", f) for f in files])
        await until(lambda: all(len(pids(f)) == 1 for f in files))
        await supervisor.stop()
        assert all(gone(pid) for f in files for pid in pids(f))
        assert {child.state for child in supervisor.children.values()} == {"stopped"}

    async def test_kills_who_does_not_listen(self, supervisor: Supervisor, tmp_path: Path) -> None:
        lives = tmp_path / "lives"
        await supervisor.start([part("engine", "stubborn", lives)])
        await until(lambda: len(pids(lives)) == 1)
        await supervisor.stop(grace=0.1)
        assert gone(pids(lives)[0])

    async def test_takes_the_helpers_of_a_child_along(self, supervisor: Supervisor, tmp_path: Path) -> None:
        lives = tmp_path / "lives"
        await supervisor.start([part("engine", "parent", lives)])
        await until(lambda: len(pids(lives)) == 2)
        await supervisor.stop()
        await until(lambda: all(gone(pid) for pid in pids(lives)))

    async def test_does_not_wait_for_a_pause_to_end(self, tmp_path: Path) -> None:
        resting = asyncio.Event()
        lazy = Supervisor(
            tmp_path / "logs",
            lambda child: resting.set() if child.state == "resting" else None,
            restarts=lambda: Restarts(first=3600.0),
        )
        lives, never = tmp_path / "lives", asyncio.Event()
        starting = asyncio.create_task(lazy.start([part("engine", "crash", lives, probe=never.wait)]))
        await resting.wait()
        await lazy.stop()
        await starting
        assert len(pids(lives)) == 1


async def test_the_state_of_all_is_readable_by_others(supervisor: Supervisor, tmp_path: Path) -> None:
    await supervisor.start([part("Echo", "live", tmp_path / "lives")])
    state = json.loads((tmp_path / STATE_FILE).read_text(encoding="utf-8"))
    assert state["supervisor"] == os.getpid()
    assert state["children"]["Echo"]["state"] == "ready"
    assert state["children"]["Echo"]["pid"] == supervisor.children["Echo"].pid
    await supervisor.stop()
    assert not (tmp_path / STATE_FILE).exists()


async def test_a_long_log_is_set_aside(
    supervisor: Supervisor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.process.LOG_LIMIT", 10)
    log = tmp_path / "logs" / "Echo.log"
    log.parent.mkdir()
    log.write_text("a line of another day\n", encoding="utf-8")
    await supervisor.start([part("Echo", "live", tmp_path / "lives")])
    assert log.with_suffix(".log.1").read_text(encoding="utf-8") == "a line of another day\n"
    assert "another day" not in log.read_text(encoding="utf-8")
