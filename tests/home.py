"""The whole program as a user starts it: the command `inner`, real processes, the embedded model."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from orchestrator.store import Store

Event = dict[str, Any]


class Home:
    """A data directory, and `inner` in it."""

    def __init__(self, directory: Path, model: Path) -> None:
        self.directory = directory
        models = directory / "models"
        models.mkdir(parents=True)
        (models / model.name).symlink_to(model)
        kept = {name: value for name, value in os.environ.items() if not name.startswith("INNER_")}
        self.environment = {**kept, "INNER_HOME": str(directory), "NO_COLOR": "1", "COLUMNS": "120"}

    def inner(self, *arguments: str, timeout: float = 180, **more: Any) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return subprocess.run(
            [sys.executable, "-m", "orchestrator.cli", *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=timeout,
            **more,
        )

    def start(self, *arguments: str) -> Talk:
        """Start a command that prints events."""
        return Talk(self, arguments)

    def store(self) -> Store:
        """The store of this home."""
        return Store.open(self.directory / "inner.db", create=False)


class Talk:
    """`inner think --json` or `inner resume --json` under way: its events as they come, its processes."""

    def __init__(self, home: Home, arguments: tuple[str, ...]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "orchestrator.cli", *arguments],
            env=home.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.events: list[Event] = []
        self._new = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._new:
                self.events.append(json.loads(line))
                self._new.notify_all()

    def of(self, kind: str) -> list[Event]:
        """The events of one kind so far."""
        return [event for event in self.events if event["event"] == kind]

    def until(self, true: Callable[[], object], seconds: float = 120) -> None:
        """Wait for events until `true()`."""
        with self._new:
            assert self._new.wait_for(lambda: true() or self.process.poll() is not None, seconds), self.events
        assert true(), (self.events, self.process.stderr and self.process.stderr.read())

    def child(self, words: str) -> psutil.Process:
        """The child process whose command line holds `words`."""
        for child in psutil.Process(self.process.pid).children(recursive=True):
            if words in " ".join(child.cmdline()):
                return child
        raise AssertionError(f"no child process runs {words}")

    def say(self, line: str) -> None:
        """Type a line."""
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def end(self, seconds: float = 180) -> int:
        """Wait for its end. The exit code."""
        code = self.process.wait(seconds)
        self._reader.join(5)
        return code

    def close(self) -> str:
        """End it if it still runs; what it said on stderr."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(15)
        self._reader.join(5)
        for stream in (self.process.stdin, self.process.stdout):
            assert stream is not None
            stream.close()
        assert self.process.stderr is not None
        with self.process.stderr as stderr:
            return stderr.read()


def processes_in(home: Home) -> list[str]:
    """Command lines of living processes that work in this home."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("INNER_HOME") == str(home.directory):
                found.append(" ".join(process.cmdline()))
        except (psutil.AccessDenied, psutil.NoSuchProcess):
            continue
    return found
