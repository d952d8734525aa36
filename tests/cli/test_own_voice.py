"""A file becomes a voice, or it is said why not."""

from pathlib import Path

import pytest

from orchestrator.own_voice import BadVoiceFile, NothingRuns, prompt_voice, python_voice, run
from orchestrator.settings import load_settings
from voices import PromptFileError

SKEPTIC = """
from voices import Voice

class Skeptic(Voice):
    name = "Skeptic"

    def think(self, ask):
        yield "Really?"
"""


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


class TestPython:
    def test_a_subclass_is_a_voice(self, tmp_path: Path) -> None:
        voice = python_voice(write(tmp_path / "skeptic.py", SKEPTIC))
        assert voice.name == "Skeptic"

    @pytest.mark.parametrize(
        ("text", "why"),
        [
            ("x = 1", "it holds none"),
            (SKEPTIC + "\nclass Other(Voice):\n    name = 'Other'\n", "it holds Skeptic, Other"),
            (SKEPTIC.replace('name = "Skeptic"', "pass"), "has no name"),
            ("def (", r"skeptic.py:1: SyntaxError"),
            ("\n\nimport nowhere_to_be_found", r"skeptic.py:3: ModuleNotFoundError"),
        ],
    )
    def test_anything_else_is_explained(self, tmp_path: Path, text: str, why: str) -> None:
        with pytest.raises(BadVoiceFile, match=why):
            python_voice(write(tmp_path / "skeptic.py", text))


class TestAPromptFile:
    def test_speaks_in_the_mode_its_folder_is_named_after(self, tmp_path: Path) -> None:
        file = write(tmp_path / "steps" / "skeptic.md", "---\nname: Skeptic\n---\ndoubts")
        voice = prompt_voice(file, load_settings())
        assert (voice.name, voice.modes) == ("Skeptic", ("steps",))

    def test_speaks_in_every_mode_elsewhere(self, tmp_path: Path) -> None:
        file = write(tmp_path / "skeptic.md", "---\nname: Skeptic\n---\ndoubts")
        assert set(prompt_voice(file, load_settings()).modes) == {"journal", "brainstorm", "steps"}

    def test_is_named_where_it_is_wrong(self, tmp_path: Path) -> None:
        file = write(tmp_path / "skeptic.md", "doubts")
        with pytest.raises(PromptFileError, match=f"{file}:1"):
            prompt_voice(file, load_settings())


def test_a_voice_needs_somebody_to_join(tmp_path: Path) -> None:
    file = write(tmp_path / "skeptic.py", SKEPTIC)
    with pytest.raises(NothingRuns, match="inner run"):
        run(load_settings(), file)
