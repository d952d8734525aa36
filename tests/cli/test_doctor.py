"""Every line says ok, or what to do."""

import json
import os
from pathlib import Path

import pytest
from rich.console import Console

from orchestrator import doctor
from orchestrator.doctor import Check, examine, healthy
from orchestrator.settings import load_settings
from orchestrator.store import Store


def of(checks: list[Check], name: str) -> Check:
    return next(check for check in checks if check.name == name)


def test_a_fresh_machine_is_healthy_and_nothing_is_made(home: Path) -> None:
    checks = examine(load_settings())
    assert healthy(checks)
    assert not home.exists()
    names = [check.name for check in checks]
    for name in (
        "python",
        "llama-cpp-python",
        "sqlite",
        "model",
        "threads",
        "port",
        "voices",
        "disk",
        "running",
    ):
        assert name in names
    assert "journal mode" in of(checks, "sqlite").text
    assert "Echo, Pulse, Doubt, Shift" in of(checks, "voices").text


def test_a_store_is_looked_into(store: Store) -> None:
    store.begin("journal", "x")
    assert "1 threads" in of(examine(load_settings()), "store").text


def test_a_file_that_is_no_store_is_said_and_left_alone(home: Path) -> None:
    home.mkdir()
    (home / "inner.db").write_bytes(b"not a database" * 100)
    checks = examine(load_settings())
    assert not healthy(checks)
    assert of(checks, "store").ok is False
    assert of(checks, "store").hint
    assert (home / "inner.db").read_bytes() == b"not a database" * 100


def test_a_bad_prompt_file_is_named(home: Path) -> None:
    (home / "prompts" / "journal").mkdir(parents=True)
    (home / "prompts" / "journal" / "own.md").write_text("no front matter", encoding="utf-8")
    check = of(examine(load_settings()), "prompts")
    assert check.ok is False
    assert "own.md:1" in check.text


def test_a_model_that_is_none_is_named(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(b"PK\x03\x04")
    check = of(examine(load_settings(model=str(path))), "model")
    assert check.ok is False
    assert "not a GGUF" in check.text


def test_a_model_of_one_s_own_has_size_and_digest(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(b"GGUF" + bytes(1_000_000))
    assert "(1 MB, " in of(examine(load_settings(model=str(path))), "model").text


def test_a_run_directory_open_to_others_is_broken(home: Path) -> None:
    (home / "run").mkdir(parents=True)
    (home / "run").chmod(0o755)
    check = of(examine(load_settings()), "run directory")
    assert (check.ok, "chmod 700" in check.hint) == (False, True)


def test_a_variable_that_means_nothing_is_pointed_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INNER_PROT", "9000")
    checks = examine(load_settings())
    assert "INNER_PROT" in of(checks, "environment").text
    assert healthy(checks)


def test_a_silent_engine_of_a_running_ensemble_is_broken(home: Path) -> None:
    settings = load_settings()
    settings.make_dirs()
    holder = {"pid": os.getpid(), "command": "inner run", "since": "today"}
    settings.lock_path.write_text(json.dumps(holder), encoding="utf-8")
    dead = {"state": "dead", "detail": "killed by SIGKILL", "pid": None, "log": "doubt.log"}
    state = {"supervisor": os.getpid(), "children": {"Doubt": dead}}
    (settings.run_dir / "children.json").write_text(json.dumps(state), encoding="utf-8")
    checks = examine(settings)
    assert f"process {os.getpid()}: inner run" in of(checks, "running").text
    assert of(checks, "  Doubt").ok is False
    assert of(checks, "threads").ok is False


def test_it_can_be_read_by_people_and_programs(capsys: pytest.CaptureFixture[str]) -> None:
    checks = [
        Check("disk", False, "full", "make room"),
        Check("port", True, "8501 is free"),
        Check("x", None, "y"),
    ]
    assert doctor.as_json(checks)["ok"] is False
    assert doctor.as_json(checks)["checks"][0] == {
        "name": "disk",
        "ok": False,
        "text": "full",
        "hint": "make room",
    }
    Console(width=60).print(doctor.as_text(checks))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["!!", "disk", "full"]
    assert lines[1].strip() == "→ make room"
    assert lines[2].split()[:2] == ["ok", "port"]
