"""A data directory of its own for every test, and a store in it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.store import Store


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """INNER_HOME, with none of the developer's own settings."""
    for name in os.environ:
        if name.startswith("INNER_"):
            monkeypatch.delenv(name)
    place = tmp_path / "home"
    monkeypatch.setenv("INNER_HOME", str(place))
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("LINES", "40")
    monkeypatch.setenv("NO_COLOR", "1")
    return place


@pytest.fixture
def store(home: Path) -> Iterator[Store]:
    home.mkdir()
    with Store.open(home / "inner.db") as opened:
        yield opened
