"""What runs, where it listens, and how one sees that it is ready."""

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator import ensemble
from orchestrator.errors import PortTaken
from orchestrator.settings import Settings, load_settings
from voices.role import load_modes


@pytest.fixture
def taken() -> Iterator[int]:
    """A port somebody else listens on."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]


class TestThePort:
    def test_a_free_one_is_taken_as_it_is(self, taken: int) -> None:
        settings = load_settings(port=taken)
        with pytest.raises(PortTaken, match=f"Port {taken} .* is taken") as caught:
            ensemble.free_port(settings)
        assert "--port" in caught.value.hint
        assert caught.value.exit_code == 3

    def test_the_next_free_one_will_do_where_none_was_asked_for(self, taken: int) -> None:
        settings = Settings.model_construct(_fields_set=set(), port=taken)
        assert not settings.port_asked
        assert taken < ensemble.free_port(settings) < taken + ensemble.PORTS_TRIED


def test_every_voice_of_every_mode_is_one_process_the_choir_first(tmp_path: Path) -> None:
    own = tmp_path / "journal" / "aunt.md"
    own.parent.mkdir()
    own.write_text("---\nname: Aunt\n---\nremembers", encoding="utf-8")
    names = ensemble.voice_names(load_modes([tmp_path]))
    assert names == ["Echo", "Pulse", "Doubt", "Shift", "Aunt"]


@pytest.mark.parametrize(
    ("answer", "ready"), [(b"HTTP/1.1 200 OK", True), (b"HTTP/1.1 503 No", False), (b"", False)]
)
async def test_the_page_is_ready_when_its_health_says_so(answer: bytes, ready: bool) -> None:
    asked: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readline())
        writer.write(answer + b"\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        assert await ensemble.page_answers("127.0.0.1", port) is ready
    assert asked == [b"GET /_stcore/health HTTP/1.0\r\n"]


async def test_a_page_that_is_not_there_is_not_ready(taken: int) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        assert not await ensemble.page_answers("127.0.0.1", nobody.getsockname()[1])


def test_an_engine_that_is_not_there_is_none(tmp_path: Path) -> None:
    assert ensemble.ask_engine(f"ipc://{tmp_path}/x", patience=0.05) is None


@pytest.mark.parametrize(
    ("variable", "there"), [("DISPLAY", True), ("WAYLAND_DISPLAY", True), ("OTHER", False)]
)
def test_a_browser_is_opened_only_where_there_is_a_display(
    monkeypatch: pytest.MonkeyPatch, variable: str, there: bool
) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setenv(variable, ":0")
    assert ensemble.has_display() is there
