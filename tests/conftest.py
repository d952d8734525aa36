"""What every test can use: the embedded model, prepared once, and one engine process on it."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.home import Home, processes_in
from tests.processes import EngineProcess
from voices.engine.prepare import EMBEDDED, prepare


@pytest.fixture(scope="session")
def model_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded model as a GGUF ready to load; INNER_TEST_MODELS names a folder to keep it in."""
    kept = os.environ.get("INNER_TEST_MODELS")
    return prepare(EMBEDDED, Path(kept) if kept else tmp_path_factory.mktemp("models"), print)


@pytest.fixture
def short_dir() -> Iterator[Path]:
    """A directory with a path short enough for ipc sockets."""
    with tempfile.TemporaryDirectory(prefix="inner-", dir="/tmp") as name:
        yield Path(name)


@pytest.fixture(scope="session")
def engine(model_path: Path) -> Iterator[EngineProcess]:
    """The one engine process that tests share."""
    with tempfile.TemporaryDirectory(prefix="inner-engine-", dir="/tmp") as name:
        process = EngineProcess(model_path, Path(name))
        process.wait()
        yield process
        process.stop()


@pytest.fixture
def home(short_dir: Path, model_path: Path) -> Iterator[Home]:
    home = Home(short_dir / "home", model_path)
    yield home
    left = processes_in(home)
    deadline = time.monotonic() + 5
    while left and time.monotonic() < deadline:
        time.sleep(0.1)
        left = processes_in(home)
    assert not left, f"processes outlived the command: {left}"
