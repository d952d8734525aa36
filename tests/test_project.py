"""What the project promises about itself: what is installed, that it is pinned, that every door is there."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
OURS = {"orchestrator", "voices", "ui", "prompts"}


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


class TestWhatIsInstalled:
    def test_is_nothing_but_our_four_names(self, project: dict[str, Any]) -> None:
        packages = project["tool"]["setuptools"]["packages"]
        assert {name.partition(".")[0] for name in packages} == OURS
        assert "py-modules" not in project["tool"]["setuptools"]

    def test_is_every_package_there_is(self, project: dict[str, Any]) -> None:
        there = {
            str(path.parent.relative_to(ROOT)).replace("/", ".")
            for name in OURS
            for path in (ROOT / name).rglob("*.py")
        }
        assert there == set(project["tool"]["setuptools"]["packages"])

    def test_has_the_command(self, project: dict[str, Any]) -> None:
        module, _, function = project["project"]["scripts"]["inner"].partition(":")
        assert callable(getattr(importlib.import_module(module), function))

    def test_has_all_its_data(self, project: dict[str, Any]) -> None:
        for package, patterns in project["tool"]["setuptools"]["package-data"].items():
            for pattern in patterns:
                assert list((ROOT / package).glob(pattern)), f"{package}: {pattern}"


@pytest.fixture(scope="module")
def lock() -> str:
    return (ROOT / "requirements.lock").read_text(encoding="utf-8")


class TestTheLock:
    def test_pins_every_dependency_of_ours(self, lock: str, project: dict[str, Any]) -> None:
        pinned = set(re.findall(r"^([a-z0-9-]+)==", lock, re.MULTILINE))
        wanted = project["project"]["dependencies"] + project["project"]["optional-dependencies"]["dev"]
        names = {re.split(r"[<>=!~\[ ]", line)[0].lower() for line in wanted}
        assert names - pinned == set()

    def test_has_a_hash_for_everything(self, lock: str) -> None:
        blocks = re.split(r"^(?=[a-z0-9-]+==)", lock, flags=re.MULTILINE)[1:]
        assert len(blocks) > 50
        assert all("--hash=sha256:" in block for block in blocks)

    def test_names_no_address(self, lock: str) -> None:
        assert not re.search(r"https?://|file:|--(extra-)?index-url|--find-links|--trusted-host", lock)


class TestTheDoors:
    @pytest.mark.parametrize("path", [".ci/run", "scripts/setup", "scripts/chromium"])
    def test_scripts_can_be_run_and_are_sound(self, path: str) -> None:
        assert os.access(ROOT / path, os.X_OK)
        shell = "bash" if path == ".ci/run" else "sh"
        subprocess.run([shell, "-n", str(ROOT / path)], check=True)

    def test_make_alone_says_what_there_is(self) -> None:
        done = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True)
        for target in ("run", "test", "setup", "lint", "lock", "clean"):
            assert f"make {target} " in done.stdout

    def test_an_old_python_is_refused_in_words(self, tmp_path: Path) -> None:
        old = tmp_path / "python3"
        old.write_text('#!/bin/sh\ncase "$*" in *exit*) exit 1;; *) echo 3.9.1;; esac\n', encoding="utf-8")
        old.chmod(0o755)
        env = {**os.environ, "PYTHON": str(old)}
        done = subprocess.run(
            [str(ROOT / "scripts/setup")], env=env, capture_output=True, text=True, check=False
        )
        assert done.returncode == 1
        assert "Python 3.11 or newer is needed" in done.stderr
        assert "is 3.9.1" in done.stderr

    def test_the_chromium_named_is_the_one_used(self, tmp_path: Path) -> None:
        own = tmp_path / "browser"
        own.write_text("#!/bin/sh\n", encoding="utf-8")
        own.chmod(0o755)
        env = {**os.environ, "INNER_CHROMIUM": str(own)}
        done = subprocess.run(
            [str(ROOT / "scripts/chromium"), "python3"], env=env, capture_output=True, text=True, check=True
        )
        assert done.stdout == f"{own}\n"

    def test_the_licence_is_whole(self) -> None:
        text = (ROOT / "LICENSE").read_text(encoding="utf-8")
        assert "Apache License" in text
        assert "END OF TERMS AND CONDITIONS" in text
