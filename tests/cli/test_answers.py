"""What a person types at a fork, and what it means."""

import pytest

from orchestrator.answers import (
    HELP,
    Answer,
    Choose,
    Edit,
    GoOn,
    Help,
    Own,
    Refuse,
    Stop,
    Unclear,
    Undo,
    read_answer,
)

KEYS = (1, 2, 3)


@pytest.mark.parametrize(
    ("line", "meaning"),
    [
        ("1", Choose(1)),
        (" 3 ", Choose(3)),
        ("e 2", Edit(2)),
        ("E2", Edit(2)),
        ("e 2 Was it the money?", Edit(2, "Was it the money?")),
        ("x", Refuse()),
        ("Z", Undo()),
        ("g", GoOn()),
        ("s", Stop()),
        ("q", Stop()),
        ("?", Help()),
        ("no, it was the money", Own("no, it was the money")),
        ("so what?", Own("so what?")),
        ("42", Own("42")),
        ("0", Own("0")),
        ("w 2", Own("2")),
        ("w x", Own("x")),
        ("we went home", Own("we went home")),
        ("e is a vowel", Own("e is a vowel")),
    ],
)
def test_at_a_fork(line: str, meaning: Answer) -> None:
    assert read_answer(line, KEYS) == meaning


@pytest.mark.parametrize("line", ["7", "e 7", "e 7 words", "e"])
def test_an_option_that_is_not_there_is_asked_back_and_never_taken_for_words(line: str) -> None:
    assert isinstance(read_answer(line, KEYS), Unclear)


@pytest.mark.parametrize("line", ["7", "e 7", "e", "1"])
def test_without_a_fork_these_are_words(line: str) -> None:
    assert read_answer(line) == Own(line)


def test_an_empty_line_is_no_answer() -> None:
    assert read_answer("  ", KEYS) is None


def test_every_command_is_in_the_help() -> None:
    assert {key.split()[0] for key, _ in HELP} == {"1–9", "e", "x", "z", "g", "s", "w", "?"}
