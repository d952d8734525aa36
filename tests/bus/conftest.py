from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def run_dir() -> Iterator[Path]:
    """A short 0700 directory: socket paths end at 108 bytes."""
    path = Path(tempfile.mkdtemp(prefix="id-"))
    yield path
    shutil.rmtree(path)
