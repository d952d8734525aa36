"""One `inner` on a data directory, and the others are told who it is (fault 17)."""

import json
import os
from pathlib import Path

import pytest

from orchestrator.errors import AlreadyRunning
from orchestrator.process import Lock, alive, read_holder


def test_the_second_one_is_told_who_holds_it_and_since_when(tmp_path: Path) -> None:
    path = tmp_path / "inner.lock"
    with Lock(path) as first:
        first.acquire("inner run --port 9000")
        with pytest.raises(AlreadyRunning) as caught:
            Lock(path).acquire("inner think")
        holder = read_holder(path)
        assert holder is not None
        assert holder.pid == os.getpid()
        for said in (str(os.getpid()), "inner run --port 9000", holder.since, str(tmp_path)):
            assert said in caught.value.message
        assert caught.value.exit_code == 3


def test_it_is_free_again_after_the_first_one(tmp_path: Path) -> None:
    path = tmp_path / "inner.lock"
    with Lock(path) as first:
        first.acquire("inner run")
    assert read_holder(path) is None
    with Lock(path) as second:
        second.acquire("inner run")


def test_what_a_killed_holder_left_does_not_keep_anybody_out(tmp_path: Path) -> None:
    path = tmp_path / "inner.lock"
    path.write_text(json.dumps({"pid": 2**22 + 1, "command": "inner run", "since": "long ago"}))
    assert read_holder(path) is None
    with Lock(path) as lock:
        lock.acquire("inner run")


@pytest.mark.parametrize("content", ["", "{", "[]", '{"pid": "x"}', '{"pid": 1}'])
def test_a_lock_file_of_nonsense_names_nobody(tmp_path: Path, content: str) -> None:
    path = tmp_path / "inner.lock"
    path.write_text(content)
    assert read_holder(path) is None


def test_a_process_lives_or_not() -> None:
    assert alive(os.getpid())
    assert alive(1)
    assert not alive(2**22 + 1)
