"""A store of its own for each test, copied from one made once: making it costs a migration."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import event

from orchestrator.store import Store


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("template") / "inner.db"
    Store.open(path).close()
    return path


@pytest.fixture
def path(template: Path, tmp_path: Path) -> Path:
    """An empty store's file."""
    return Path(shutil.copy(template, tmp_path / "inner.db"))


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    with Store.open(path) as store:
        hurry(store)
        yield store


def hurry(store: Store) -> None:
    """Real files, but no waiting for the disk: what survives a power cut is not what these tests are about."""
    event.listen(store._writers, "connect", lambda raw, entry: raw.execute("PRAGMA synchronous = OFF"))
