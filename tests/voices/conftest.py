from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bus.tools import Spawn, spawning


@pytest.fixture
def run_dir() -> Iterator[Path]:
    """A short 0700 directory: socket paths end at 108 bytes."""
    path = Path(tempfile.mkdtemp(prefix="id-"))
    yield path
    shutil.rmtree(path)


@pytest.fixture
def engine_at(run_dir: Path) -> str:
    return f"ipc://{run_dir / 'engine.sock'}"


@pytest.fixture
def spawn(run_dir: Path, engine_at: str) -> Iterator[Spawn]:
    with spawning(f"ipc://{run_dir / 'hub.sock'}", engine_at) as start:
        yield start
