"""Tokens, hosts, and the key they rest on."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from ui.doors import KEY_BYTES, LOOPBACK, Doors, allowed_hosts, host_name, key_at, same_origin


class TestTokens:
    def test_a_token_opens_the_doors_of_its_key_alone(self) -> None:
        token = Doors(b"a" * 32).token("session")
        assert Doors(b"a" * 32).admits(token)
        assert not Doors(b"b" * 32).admits(token)

    @pytest.mark.parametrize(
        "token", ["", ".", "session", "session.", ".mac", "session.mac", "séssion.x", "a.b.c"]
    )
    def test_anything_else_does_not(self, token: str) -> None:
        assert not Doors(b"a" * 32).admits(token)

    def test_a_token_cannot_be_given_to_another_session(self) -> None:
        doors = Doors(b"a" * 32)
        assert not doors.admits("other." + doors.token("session").rpartition(".")[2])


class TestKey:
    def test_the_key_is_ours_alone_and_stays(self, tmp_path: Path) -> None:
        key = key_at(tmp_path / "ui.key")
        assert len(key) == KEY_BYTES
        assert stat.S_IMODE((tmp_path / "ui.key").stat().st_mode) == 0o600
        assert key_at(tmp_path / "ui.key") == key

    def test_a_key_cut_short_by_a_kill_is_made_again(self, tmp_path: Path) -> None:
        (tmp_path / "ui.key").write_bytes(b"half")
        assert len(key_at(tmp_path / "ui.key")) == KEY_BYTES


class TestHosts:
    @pytest.mark.parametrize(
        ("bound", "allowed"),
        [
            ("127.0.0.1", LOOPBACK),
            ("localhost", LOOPBACK),
            ("::1", LOOPBACK),
            ("192.168.1.5", LOOPBACK | {"192.168.1.5"}),
            ("inner.example", LOOPBACK | {"inner.example"}),
            ("0.0.0.0", None),
            ("::", None),
        ],
    )
    def test_only_the_wildcard_answers_to_any_name(self, bound: str, allowed: frozenset[str] | None) -> None:
        assert allowed_hosts(bound) == allowed

    @pytest.mark.parametrize(
        ("host", "name"), [("127.0.0.1:8501", "127.0.0.1"), ("[::1]:8501", "::1"), ("a.b.", "a.b"), ("[", "")]
    )
    def test_the_name_in_a_host_header(self, host: str, name: str) -> None:
        assert host_name(host) == name

    def test_an_origin_is_ours_if_it_is_the_host_that_is_asked(self) -> None:
        assert same_origin({"origin": "http://127.0.0.1:8501", "host": "127.0.0.1:8501"})
        assert not same_origin({"origin": "http://127.0.0.1:8502", "host": "127.0.0.1:8501"})
        assert not same_origin({"origin": "null", "host": "127.0.0.1:8501"})
        assert not same_origin({"host": "127.0.0.1:8501"})
        assert not same_origin({"origin": "", "host": ""})
