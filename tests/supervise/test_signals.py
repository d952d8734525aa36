"""Ctrl-C once, Ctrl-C twice, kill -9: whatever ends the supervisor, nothing is left."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.supervise.helpers import gone, pids, wait_for

ROOT = Path(__file__).resolve().parents[2]
Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started: list[subprocess.Popen[str]] = []

    def begin(*kinds: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.supervise.fake_supervisor", str(tmp_path), *kinds],
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            start_new_session=True,
        )
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process

    yield begin
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def children(directory: Path) -> list[int]:
    return [pid for path in directory.glob("*.pids") for pid in pids(path)]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_one_signal_ends_everything_cleanly(start: Start, tmp_path: Path, number: signal.Signals) -> None:
    process = start("live", "live", "live")
    process.send_signal(number)
    assert process.wait(20) == 0
    assert len(children(tmp_path)) == 3
    assert all(gone(pid) for pid in children(tmp_path))


def test_ctrl_c_at_the_terminal_reaches_only_the_supervisor(start: Start, tmp_path: Path) -> None:
    process = start("live")
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(20) == 0
    assert "heard SIGINT" not in (tmp_path / "logs" / "live-0.log").read_text(encoding="utf-8")


def test_a_second_ctrl_c_kills_at_once_those_who_do_not_listen(start: Start, tmp_path: Path) -> None:
    process = start("stubborn")
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 130
    assert all(gone(pid) for pid in children(tmp_path))


def test_kill_9_of_the_supervisor_leaves_no_orphan(start: Start, tmp_path: Path) -> None:
    process = start("live", "stubborn")
    process.kill()
    process.wait(20)
    wait_for(lambda: all(gone(pid) for pid in children(tmp_path)))


def test_a_child_whose_parent_is_gone_already_does_not_begin(tmp_path: Path) -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "orchestrator.child",
            "tests.supervise.fake_child",
            "live",
            str(tmp_path / "x"),
        ],
        env={**os.environ, "INNER_PARENT": "1"},
        cwd=ROOT,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert not (tmp_path / "x").exists()
