"""What the README shows is what there is: commands, flags, files, the voices of one's own."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest
import typer

from orchestrator.cli import app
from voices import Voice
from voices.role import load_modes

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


COMMANDS = [line for block in blocks("sh") for line in block.splitlines() if line.strip()]


def test_the_readme_shows_commands() -> None:
    assert {shlex.split(line)[0] for line in COMMANDS} == {"make", "inner"}


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_shown_exists_with_its_flags(line: str) -> None:
    name, *arguments = shlex.split(line)
    if name == "make":
        assert re.search(rf"^{arguments[0]}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
        return
    command: click.Command = typer.main.get_command(app)
    context = click.Context(command, info_name="inner")
    while isinstance(command, click.Group):
        found = command.get_command(context, arguments.pop(0))
        assert found is not None, line
        command = found
        context = click.Context(command, parent=context)
    command.parse_args(
        context, arguments
    )  # raises UsageError for an unknown flag or a value of the wrong kind


def test_every_file_linked_or_shown_is_there() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / target).exists(), target


def test_the_voice_shown_as_markdown_can_be_loaded(tmp_path: Path) -> None:
    (text,) = blocks("markdown")
    (tmp_path / "journal").mkdir()
    (tmp_path / "journal" / "skeptic.md").write_text(text)
    journal = load_modes([tmp_path])["journal"]
    assert journal.voice("Skeptic").shape == "diamond"
    assert "Skeptic" in journal.lead


def test_the_voice_shown_as_python_is_a_voice_of_about_a_dozen_lines() -> None:
    (code,) = blocks("python")
    assert len([line for line in code.splitlines() if line.strip()]) <= 12
    names: dict[str, object] = {}
    exec(code.replace("Skeptic().main()", ""), names)
    skeptic = names["Skeptic"]
    assert isinstance(skeptic, type)
    assert issubclass(skeptic, Voice)
    assert skeptic.name == "Skeptic"
