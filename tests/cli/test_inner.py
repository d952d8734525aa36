"""`inner think` and `resume` as processes, with a scripted dialogue behind them."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from orchestrator import cli, sittings
from orchestrator.store import Store
from tests.cli.script import ASKED
from tests.cli.scripted_inner import ScriptedEnsemble

ROOT = Path(__file__).resolve().parents[2]
INNER = [sys.executable, "-m", "tests.cli.scripted_inner"]
FIRST, SECOND = ASKED.options[0][1], ASKED.options[1][1]


@dataclass(frozen=True)
class Done:
    returncode: int
    stdout: str
    stderr: str


Run = Callable[..., Done]


@pytest.fixture
def inner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """A command with `say` as its stdin, in this process: a start costs more than all the rest."""
    monkeypatch.setattr(sittings, "Ensemble", ScriptedEnsemble)

    def run(*arguments: str, say: str = "", failing: bool = False) -> Done:
        monkeypatch.setattr(ScriptedEnsemble, "failing", failing)
        (tmp_path / "said").write_text(say, encoding="utf-8")
        with (tmp_path / "said").open(encoding="utf-8") as stdin, monkeypatch.context() as patch:
            patch.setattr(sys, "stdin", stdin)
            with pytest.raises(SystemExit) as ended:
                cli.main(list(arguments))
        said = capsys.readouterr()
        return Done(int(ended.value.code or 0), said.out, said.err)

    return run


def events(done: Done) -> list[dict[str, Any]]:
    return [json.loads(line) for line in done.stdout.splitlines()]


def of(told: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [event for event in told if event["event"] == kind]


class TestThink:
    def test_without_a_person_gives_just_the_steps_asked_for(self, inner: Run, home: Path) -> None:
        done = inner("think", "I said yes.", "--arbiter", "auto", "--steps", "6", "--json")
        told = events(done)
        assert (done.returncode, done.stderr) == (0, "")
        first, last = told[0], told[-1]
        assert (first["event"], first["mode"], first["model"]) == ("thread", "journal", "scripted")
        assert first["opening"]["text"] == "I said yes."
        assert len(of(told, "thought")) == 6
        assert (last["event"], last["thoughts"], last["forks"]) == ("end", 6, 2)
        with Store.open(home / "inner.db") as store:
            path = [thought.id for thought in store.path(first["id"])]
        assert path == [first["opening"]["id"], *(thought["id"] for thought in of(told, "thought"))]

    def test_reads_the_opening_from_stdin(self, inner: Run) -> None:
        done = inner("think", "--arbiter", "auto", "--steps", "1", "--json", say="From a pipe.\n")
        assert events(done)[0]["opening"]["text"] == "From a pipe."

    def test_reads_answers_as_lines_where_events_are_json(self, inner: Run) -> None:
        done = inner("think", "I said yes.", "--steps", "3", "--json", say="2\n")
        told = events(done)
        assert done.returncode == 0
        assert of(told, "choice")[0]["option"] == 2
        assert of(told, "thought")[1]["text"] == SECOND

    def test_ends_at_the_first_question_nobody_can_answer(self, inner: Run, home: Path) -> None:
        done = inner("think", "I said yes.", "--json")
        told = events(done)
        assert (done.returncode, told[-1]["why"], of(told, "fork") != []) == (0, "input", True)
        again = events(inner("resume", told[0]["id"][:13], "--json", "--steps", "1", say="1\n"))
        assert [event["event"] for event in again if event["event"] != "voice"] == [
            "thread",
            "fork",
            "choice",
            "thought",
            "end",
        ]
        assert again[1]["id"] == of(told, "fork")[0]["id"]

    def test_as_text_reads_like_a_page(self, inner: Run) -> None:
        done = inner("think", "I said yes.", "--steps", "3", say="1\n")
        assert done.returncode == 0
        for line in (
            "Me    I said yes.",
            "■ Echo  You said yes before",
            "two meanings at “asked”, 0.9 nats",
            "1 ●■ Was it the project, or the person who asked?",
            "Doubt, Echo .50",
            "↳ 1 of 2",
            "3 thoughts · 1 fork · asked 1 of 3",
            "resume with: inner resume ",
        ):
            assert line in done.stdout
        assert "\x1b" not in done.stdout

    def test_a_process_that_is_gone_ends_it_with_an_error_and_keeps_the_thread(
        self, inner: Run, home: Path
    ) -> None:
        done = inner("think", "I said yes.", "--json", "--arbiter", "auto", failing=True)
        told = events(done)
        assert done.returncode == 1
        assert done.stderr == "error: The engine process is gone.\nIts last words: none.\n"
        assert [event["event"] for event in told][-2:] == ["error", "end"]
        assert told[-1]["why"] == "error"
        with Store.open(home / "inner.db") as store:
            assert store.runnable() == []

    def test_says_which_voice_fell_silent(self, inner: Run) -> None:
        told = events(inner("think", "I said yes.", "--json", "--arbiter", "auto", "--steps", "20"))
        gone = {"event": "voice", "name": "Doubt", "state": "gone", "detail": "killed by SIGKILL"}
        assert gone in told or of(told, "voice") == []


class TestCtrlC:
    def test_ends_cleanly_and_says_how_to_resume(self, home: Path) -> None:
        process = subprocess.Popen(
            [*INNER, "think", "I said yes.", "--json"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        assert process.stdout is not None
        told = []
        for line in process.stdout:
            told.append(json.loads(line))
            if told[-1]["event"] == "fork":
                process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
        assert process.returncode == 0
        assert told[-1]["why"] == "interrupted"
        with Store.open(home / "inner.db") as store:
            assert store.open_fork(told[0]["id"]) is not None


class Screen:
    """A terminal with `inner` in it."""

    def __init__(self, *arguments: str, columns: int = 100) -> None:
        self.far, near = pty.openpty()
        env = {**os.environ, "TERM": "xterm-256color", "COLUMNS": str(columns), "LINES": "40"}
        self.process = subprocess.Popen(
            [*INNER, *arguments],
            stdin=near,
            stdout=near,
            stderr=near,
            env=env,
            cwd=ROOT,
            start_new_session=True,
        )
        os.close(near)
        self.seen = ""

    def until(self, text: str, seconds: float = 30) -> None:
        """Wait for words on the screen; what was on it before is forgotten."""
        end = time.monotonic() + seconds
        while text not in plain(self.seen):
            assert time.monotonic() < end, f"{text!r} never came; there was: {plain(self.seen)[-2000:]}"
            if select.select([self.far], [], [], 0.1)[0]:
                self.seen += os.read(self.far, 65536).decode("utf-8", "replace")
        self.seen = ""

    def press(self, keys: str) -> None:
        os.write(self.far, keys.encode())

    def rest(self) -> str:
        """All that still comes, to the end of the process."""
        while self.process.poll() is None or select.select([self.far], [], [], 0.1)[0]:
            if select.select([self.far], [], [], 0.1)[0]:
                try:
                    self.seen += os.read(self.far, 65536).decode("utf-8", "replace")
                except OSError:  # the other end is closed
                    break
        self.process.wait(30)
        return plain(self.seen)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.far)


def plain(text: str) -> str:
    """Without colours and cursor movements."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


@pytest.fixture
def screen() -> Iterator[Callable[..., Screen]]:
    opened: list[Screen] = []

    def begin(*arguments: str, columns: int = 100) -> Screen:
        opened.append(Screen(*arguments, columns=columns))
        return opened[-1]

    yield begin
    for one in opened:
        one.close()


class TestATerminal:
    def test_one_key_chooses_and_letters_are_own_words(
        self, screen: Callable[..., Screen], home: Path
    ) -> None:
        inner = screen("think", "I said yes.", "--steps", "4")
        inner.until("1–9 choose")
        inner.press("2")
        inner.until("↳ 2 of 2")
        inner.until("Write to whom?")
        inner.press("no, it was the money\r")
        assert "own words" in inner.rest()
        assert inner.process.returncode == 0
        with Store.open(home / "inner.db") as store:
            thread = store.threads()[0]
            said = [thought.text for thought in store.path(thread.id)]
            vias = [fork.choice.via for fork in store.forks(thread.id) if fork.choice is not None]
        assert said[2] == SECOND
        assert said[4] == "no, it was the money"
        assert vias == ["key", "text"]

    def test_an_option_is_edited_in_place(self, screen: Callable[..., Screen], home: Path) -> None:
        inner = screen("think", "I said yes.", "--steps", "2")
        inner.until("1–9 choose")
        inner.press("e1\r")
        inner.until(f"› {FIRST}")
        inner.press("\x7f, or me?\r")
        assert "edited" in inner.rest()
        with Store.open(home / "inner.db") as store:
            assert store.path(store.threads()[0].id)[2].text == FIRST.removesuffix("?") + ", or me?"

    def test_a_narrow_one_has_everything_too(self, screen: Callable[..., Screen]) -> None:
        inner = screen("think", "I said yes.", columns=40)
        inner.until("or the person")
        inner.until("1–9 · e 2 · x")

    def test_ctrl_c_gives_the_terminal_back(self, screen: Callable[..., Screen]) -> None:
        inner = screen("think", "I said yes.")
        inner.until("1–9 choose")
        os.kill(inner.process.pid, signal.SIGINT)
        end = inner.rest()
        assert inner.process.returncode == 0
        assert "its fork stays open" in end


def test_a_second_inner_is_told_who_holds_the_data_directory(
    screen: Callable[..., Screen], inner: Run
) -> None:
    first = screen("think", "I said yes.")
    first.until("1–9 choose")
    done = inner("think", "Me too.")
    assert done.returncode == 3
    assert f"process {first.process.pid} (inner think" in done.stderr
    assert "Traceback" not in done.stderr
