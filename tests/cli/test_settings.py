"""File, then environment, then flags; and what is said where one of them is wrong."""

import os
from pathlib import Path

import pytest

from orchestrator.errors import BadSetting, InnerError, NotWritable, UnsafeDirectory
from orchestrator.settings import IPC_LIMIT, Settings, load_settings


def config(home: Path, text: str) -> None:
    home.mkdir(exist_ok=True)
    (home / "config.toml").write_text(text, encoding="utf-8")


class TestWhoWins:
    def test_nothing_said_means_the_defaults(self, home: Path) -> None:
        settings = load_settings()
        assert settings.home == home
        assert (settings.model, settings.port, settings.threads, settings.budget) == (
            "embedded",
            8501,
            None,
            None,
        )

    def test_the_file_over_the_defaults(self, home: Path) -> None:
        config(home, "cells = 2048\nport = 9000\nbudget = 0.2\n")
        settings = load_settings()
        assert (settings.cells, settings.port, settings.budget) == (2048, 9000, 0.2)

    def test_the_environment_over_the_file(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        config(home, "cells = 2048\nport = 9000\n")
        monkeypatch.setenv("INNER_PORT", "9001")
        settings = load_settings()
        assert (settings.cells, settings.port) == (2048, 9001)

    def test_a_flag_over_everything(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        config(home, "port = 9000\n")
        monkeypatch.setenv("INNER_PORT", "9001")
        assert load_settings(port=9002).port == 9002

    def test_a_flag_that_was_not_given_is_none(self, home: Path) -> None:
        config(home, "threads = 3\n")
        assert load_settings(threads=None).threads == 3

    def test_an_empty_variable_was_not_given(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("INNER_THREADS", "")
        assert load_settings().threads is None

    def test_the_port_is_known_to_be_asked_for_or_not(self, home: Path) -> None:
        assert not load_settings().port_asked
        assert load_settings(port=8501).port_asked
        config(home, "port = 8501\n")
        assert load_settings().port_asked


class TestWhatIsWrongIsSaid:
    def test_a_bad_value_in_the_file(self, home: Path) -> None:
        config(home, 'cells = "many"\n')
        with pytest.raises(BadSetting) as caught:
            load_settings()
        assert str(home / "config.toml") in caught.value.message
        assert '"cells"' in caught.value.message
        assert "512" in caught.value.hint
        assert caught.value.exit_code == 2

    def test_a_bad_value_in_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("INNER_BUDGET", "often")
        with pytest.raises(BadSetting, match=r"INNER_BUDGET is 'often'.*0 .never ask. to 1"):
            load_settings()

    def test_a_bad_flag(self) -> None:
        with pytest.raises(BadSetting, match=r"--budget is 2.*to 1"):
            load_settings(budget=2)

    def test_an_unknown_key_in_the_file(self, home: Path) -> None:
        config(home, "prot = 9000\n")
        with pytest.raises(BadSetting, match=r'"prot" is not a setting.*port'):
            load_settings()

    def test_a_file_that_is_not_toml(self, home: Path) -> None:
        config(home, "port: 9000\n")
        with pytest.raises(BadSetting, match=r"config.toml is not valid TOML.*line 1"):
            load_settings()

    def test_a_home_in_the_file_that_lies_in_it(self, home: Path) -> None:
        config(home, 'home = "/elsewhere"\n')
        with pytest.raises(BadSetting, match="INNER_HOME"):
            load_settings()

    def test_every_setting_says_what_it_may_be(self) -> None:
        for name, value in {
            "threads": 0,
            "cells": 1,
            "port": 80,
            "budget": -1,
            "browser": "x",
            "debug": "x",
            "log_level": "loud",
            "budget_ms": 1,
            "seed": -1,
        }.items():
            with pytest.raises(BadSetting) as caught:
                load_settings(**{name: value})
            assert caught.value.hint.startswith("Allowed: "), name
            assert "nput should" not in caught.value.hint, name


class TestDirectories:
    def test_are_made_and_the_run_directory_is_ours_alone(self, home: Path) -> None:
        settings = load_settings()
        settings.make_dirs()
        settings.make_dirs()
        assert settings.logs_dir.is_dir()
        assert settings.run_dir == home / "run"
        assert settings.run_dir.stat().st_mode & 0o777 == 0o700

    def test_a_long_home_has_its_sockets_elsewhere_and_always_at_the_same_place(self, tmp_path: Path) -> None:
        deep = tmp_path / ("d" * 90)
        settings = load_settings(home=deep)
        assert not settings.run_dir.is_relative_to(deep)
        assert settings.run_dir == load_settings(home=deep).run_dir
        assert settings.run_dir != load_settings(home=tmp_path / ("e" * 90)).run_dir
        for endpoint in (settings.hub, settings.engine, settings.feed):
            assert len(os.fsencode(endpoint.removeprefix("ipc://"))) <= IPC_LIMIT

    def test_a_run_directory_open_to_others_is_refused(self, home: Path) -> None:
        (home / "run").mkdir(parents=True)
        (home / "run").chmod(0o755)
        with pytest.raises(UnsafeDirectory, match="chmod 700"):
            load_settings().make_dirs()

    def test_a_run_directory_that_is_a_link_is_refused(self, home: Path, tmp_path: Path) -> None:
        home.mkdir()
        (tmp_path / "elsewhere").mkdir(mode=0o700)
        (home / "run").symlink_to(tmp_path / "elsewhere")
        with pytest.raises(UnsafeDirectory, match="not a directory of its own"):
            load_settings().make_dirs()

    def test_a_home_that_cannot_be_made_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(NotWritable, match=r"file/home.*INNER_HOME"):
            load_settings(home=tmp_path / "file" / "home").make_dirs()


def test_a_child_process_gets_the_very_same_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    settings = load_settings(home=Path("here"), port=9000, browser=False, budget=0.25, model="m.gguf")
    for name, value in settings.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir("/")
    child = load_settings()
    assert child.home == tmp_path / "here"
    assert child.model_path == tmp_path / "m.gguf"
    assert (child.port, child.browser, child.budget) == (9000, False, 0.25)


def test_settings_cannot_be_changed_afterwards() -> None:
    settings = Settings()
    with pytest.raises(ValueError, match="frozen"):
        settings.port = 1  # type: ignore[misc]


def test_errors_of_settings_are_errors_a_person_can_read() -> None:
    assert issubclass(BadSetting, InnerError)
