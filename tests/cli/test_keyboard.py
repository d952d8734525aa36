"""Lines from a pipe, keys from a terminal, and a line editor between them."""

import asyncio
import os
import pty
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import pytest

from orchestrator.keyboard import EndOfInput, Input, Key, Keyboard, Line, LineEditor, split_keys


def typed(*keys: str) -> LineEditor:
    editor = LineEditor()
    for key in keys:
        editor.press(key)
    return editor


class TestTheLineEditor:
    def test_gives_the_line_at_enter_and_begins_a_new_one(self) -> None:
        editor = typed(*"abc")
        assert editor.press("enter") == "abc"
        assert (editor.line, editor.cursor) == ("", 0)

    @pytest.mark.parametrize(
        ("keys", "line"),
        [
            ("abc|backspace", "ab"),
            ("abc|left|backspace", "ac"),
            ("abc|home|delete", "bc"),
            ("abc|home|X|end|Y", "XabcY"),
            ("abc|left|left|left|left|X", "Xabc"),
            ("abc|right|X", "abcX"),
            ("abc|clear", ""),
            ("abc|left|clear", "c"),
            ("abc|unknown|escape", "abc"),
            ("backspace|delete|left", ""),
        ],
    )
    def test_edits_as_one_expects(self, keys: str, line: str) -> None:
        pressed = [
            key for part in keys.split("|") for key in (list(part) if part in ("abc", "X", "Y") else [part])
        ]
        assert typed(*pressed).line == line

    def test_takes_back_a_word(self) -> None:
        editor = LineEditor()
        editor.set("one two  three ")
        editor.press("word")
        assert editor.line == "one two "

    def test_can_begin_with_a_text(self) -> None:
        editor = LineEditor()
        editor.set("money")
        editor.press("!")
        assert editor.line == "money!"


def test_what_a_terminal_sends_is_told_apart() -> None:
    assert split_keys("é\x1b[D\x1b[3~\x1bOH\x7f\x01\r\x1b") == [
        "é",
        "left",
        "delete",
        "home",
        "backspace",
        "home",
        "enter",
        "escape",
    ]
    assert split_keys("\x1b[99;5u\x00") == ["unknown", "unknown"]


async def told(keyboard: Keyboard, kind: type[Input]) -> Input:
    """The next input of that kind."""
    async with asyncio.timeout(20):
        while not isinstance(said := await keyboard.inputs.get(), kind):
            pass
    return said


class TestAPipe:
    async def test_gives_lines_and_its_end(self) -> None:
        reading, writing = os.pipe()
        with os.fdopen(reading, encoding="utf-8") as stream, Keyboard(stream) as keyboard:
            os.write(writing, "1\nno, it was thé ".encode())
            assert await told(keyboard, Line) == Line("1")
            os.write(writing, b"money")
            os.close(writing)
            assert await told(keyboard, Line) == Line("no, it was thé money")
            assert await told(keyboard, EndOfInput) == EndOfInput()

    async def test_a_file_will_do_as_well(self, tmp_path: Path) -> None:
        path = tmp_path / "answers"
        path.write_text("1\nx\n", encoding="utf-8")
        with path.open(encoding="utf-8") as stream, Keyboard(stream) as keyboard:
            assert [keyboard.inputs.get_nowait() for _ in range(3)] == [Line("1"), Line("x"), EndOfInput()]


@pytest.fixture
def terminal() -> Iterator[tuple[int, TextIO]]:
    """The far end of a terminal, and the near one as a stream."""
    far, near = pty.openpty()
    with os.fdopen(near, "r+b", buffering=0) as stream:
        yield far, stream  # type: ignore[misc]
    os.close(far)


class TestATerminal:
    async def test_gives_single_keys_on_an_empty_line_only(self, terminal: tuple[int, TextIO]) -> None:
        far, stream = terminal
        with Keyboard(stream, lambda key: key in "123") as keyboard:
            os.write(far, b"2")
            assert await told(keyboard, Key) == Key("2")
            os.write(far, b"a2\r")
            assert await told(keyboard, Line) == Line("a2")

    async def test_pasted_lines_are_one_line_and_no_answers(self, terminal: tuple[int, TextIO]) -> None:
        far, stream = terminal
        with Keyboard(stream, lambda key: key in "123") as keyboard:
            os.write(far, b"\x1b[200~1 line\r2 lines\x1b[201~\r")
            assert await told(keyboard, Line) == Line("1 line 2 lines")
            assert keyboard.inputs.empty()

    async def test_ctrl_d_is_the_end(self, terminal: tuple[int, TextIO]) -> None:
        far, stream = terminal
        with Keyboard(stream) as keyboard:
            os.write(far, b"\x04")
            assert await told(keyboard, EndOfInput) == EndOfInput()

    async def test_is_given_back_as_it_was(self, terminal: tuple[int, TextIO]) -> None:
        import termios

        _, stream = terminal
        before = termios.tcgetattr(stream.fileno())
        with Keyboard(stream):
            assert termios.tcgetattr(stream.fileno()) != before
        assert termios.tcgetattr(stream.fileno()) == before
