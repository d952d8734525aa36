"""Prompt files as modes and voices, and the prompt a role speaks from."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voices.engine.protocol import Prompt, PromptMessage
from voices.role import CHOIR, ModeSpec, PromptFileError, UnknownVoice, build_prompt, load_modes, transcript
from voices.wire import Turn

MODES = ("brainstorm", "journal", "steps")
OPENING = Turn(author="Ana", text="I said yes.\nNow I cannot sleep.", human=True)


def text_of(message: PromptMessage) -> str:
    return "".join(part.text for part in message.parts)


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


class TestTheHouse:
    @pytest.mark.parametrize("mode", MODES)
    def test_every_mode_has_the_four_voices_in_order(self, mode: str) -> None:
        spec = load_modes()[mode]
        assert tuple(role.name for role in spec.voices) == CHOIR
        assert set(spec.lead) <= set(CHOIR)
        assert spec.title
        assert spec.placeholder
        assert "{voices}" in spec.preamble

    def test_there_are_three_modes_with_their_units(self) -> None:
        assert {name: spec.unit for name, spec in load_modes().items()} == {
            "brainstorm": "idea",
            "journal": "sentence",
            "steps": "line",
        }

    def test_a_voice_has_one_colour_and_shape_in_all_modes(self) -> None:
        looks = {
            (role.name, role.colour, role.shape) for spec in load_modes().values() for role in spec.voices
        }
        assert len(looks) == len(CHOIR)
        assert len({shape for _, _, shape in looks}) == len(CHOIR)

    def test_an_unknown_voice_is_a_key_error_that_lists_the_known(self) -> None:
        with pytest.raises(UnknownVoice, match="Echo, Pulse, Doubt, Shift") as error:
            load_modes()["journal"].voice("Nobody")
        assert isinstance(error.value, KeyError)


class TestOnesOwn:
    def test_a_new_name_joins_after_the_choir_and_leads_if_it_may(self, tmp_path: Path) -> None:
        write(tmp_path, "journal/zoe.md", "---\nname: Zoe\nlead: true\n---\nlaughs.\n")
        write(tmp_path, "journal/ada.md", "---\nname: Ada\n---\nremembers.\n")
        journal = load_modes([tmp_path])["journal"]
        assert [role.name for role in journal.voices] == [*CHOIR, "Ada", "Zoe"]
        assert journal.lead == (*load_modes()["journal"].lead, "Zoe")
        assert "[Ada] remembers." in text_of(build_prompt(journal, "Ada", [OPENING], "").messages[0])

    def test_a_known_name_replaces_that_voice(self, tmp_path: Path) -> None:
        write(tmp_path, "journal/mine.md", "---\nname: Echo\nmax_tokens: 7\n---\nis mine.\n")
        journal = load_modes([tmp_path])["journal"]
        assert [role.name for role in journal.voices] == list(CHOIR)
        echo = journal.voice("Echo")
        assert (echo.max_tokens, echo.character) == (7, "is mine.")
        assert echo.path.endswith("mine.md")

    def test_a_mode_file_replaces_the_mode_and_its_voices_stay(self, tmp_path: Path) -> None:
        diary = "---\ntitle: Diary\nunit: line\nlead: [Shift]\n---\nDear {voices}\n"
        write(tmp_path, "journal/mode.md", diary)
        journal = load_modes([tmp_path])["journal"]
        assert (journal.title, journal.unit, journal.lead[0]) == ("Diary", "line", "Shift")
        assert len(journal.voices) == 4

    def test_a_new_mode_is_a_folder_with_a_mode_file(self, tmp_path: Path) -> None:
        write(
            tmp_path,
            "letter/mode.md",
            "---\ntitle: Letter\nunit: sentence\nlead: [Pen]\n---\nDear {voices}\n",
        )
        write(tmp_path, "letter/pen.md", "---\nname: Pen\n---\nwrites.\n")
        assert sorted(load_modes([tmp_path])) == sorted([*MODES, "letter"])

    def test_folders_that_are_not_there_and_hidden_files_are_nothing(self, tmp_path: Path) -> None:
        write(tmp_path, "journal/.draft.md", "nonsense")
        write(tmp_path, "notes.md", "nonsense")
        assert load_modes([tmp_path, tmp_path / "nowhere"]) == load_modes()


GOOD = "---\nname: Ada\n---\nremembers.\n"


class TestBadFiles:
    @pytest.mark.parametrize(
        ("text", "line", "says"),
        [
            ("remembers.", 1, "no front matter"),
            ("", 1, "no front matter"),
            ("---\nname: Ada\nremembers.", 1, "never closed"),
            ("---\nname: Ada\nmood: grim\n---\nx", 3, "unknown key 'mood'"),
            ("---\nname: Ada\ntemperature: hot\n---\nx", 3, "temperature"),
            ("---\nname: Ada\ntemperature: 9\n---\nx", 3, "0 to 2"),
            ("---\nname: Ada\nshape: blob\n---\nx", 3, "square, triangle"),
            ("---\nname: Ada\ncolour: ['red', '#ffffff']\n---\nx", 3, "'red' is no colour"),
            ("---\nname: '[Ada]'\n---\nx", 2, "name"),
            ("---\nshape: star\n---\nx", 1, "name"),
            ("---\n- a\n- b\n---\nx", 2, "key: value"),
            ("---\nname: Ada\n  : : [\n---\nx", 3, "not YAML"),
            ("---\nname: Ada\n---\n\n", 1, "the body is empty"),
            ("---\nname: Ada\nline: |\n  one\n  two\n---\nx", 3, "line"),
        ],
    )
    def test_it_is_named_with_the_line_and_what_is_allowed(
        self, tmp_path: Path, text: str, line: int, says: str
    ) -> None:
        path = write(tmp_path, "journal/ada.md", text)
        with pytest.raises(PromptFileError) as error:
            load_modes([tmp_path])
        assert (error.value.file, error.value.line) == (path, line)
        assert says in str(error.value)
        assert str(error.value).startswith(f"{path}:{line}: ")

    def test_an_unknown_key_is_told_the_known_ones(self, tmp_path: Path) -> None:
        write(tmp_path, "journal/mode.md", "---\ntitle: T\nunit: line\nvoice: x\n---\n{voices}\n")
        with pytest.raises(PromptFileError) as error:
            load_modes([tmp_path])
        assert "unit" in error.value.hint
        assert "per_minute" in error.value.hint

    def test_not_utf8(self, tmp_path: Path) -> None:
        path = write(tmp_path, "journal/ada.md", "")
        path.write_bytes(b"---\nname: Ada\n---\n\xff\xfe\n")
        with pytest.raises(PromptFileError, match=r"ada\.md:4: not UTF-8"):
            load_modes([tmp_path])

    def test_too_large(self, tmp_path: Path) -> None:
        write(tmp_path, "journal/ada.md", GOOD + "x" * 100_000)
        with pytest.raises(PromptFileError, match="over the limit"):
            load_modes([tmp_path])

    def test_two_voices_of_one_name_in_a_folder(self, tmp_path: Path) -> None:
        write(tmp_path, "journal/a.md", GOOD)
        write(tmp_path, "journal/b.md", GOOD.replace("Ada", "ada"))
        with pytest.raises(
            PromptFileError, match=r"b\.md:1: a second voice called 'ada' in this folder \(see a\.md\)"
        ):
            load_modes([tmp_path])

    def test_voices_without_a_mode(self, tmp_path: Path) -> None:
        write(tmp_path, "opera/ada.md", GOOD)
        with pytest.raises(PromptFileError, match=r"mode\.md:1: the mode 'opera' has voices and no mode\.md"):
            load_modes([tmp_path])

    def test_a_lead_nobody_knows(self, tmp_path: Path) -> None:
        write(tmp_path, "journal/mode.md", "---\ntitle: T\nunit: line\nlead: [Ghost]\n---\n{voices}\n")
        with pytest.raises(PromptFileError, match=r"mode\.md:4: lead: no voice is called 'Ghost'"):
            load_modes([tmp_path])

    def test_a_mode_nobody_may_lead(self, tmp_path: Path) -> None:
        write(tmp_path, "opera/mode.md", "---\ntitle: T\nunit: line\n---\n{voices}\n")
        write(tmp_path, "opera/ada.md", GOOD)
        with pytest.raises(PromptFileError, match="nobody may lead"):
            load_modes([tmp_path])


@pytest.fixture
def plain(tmp_path: Path) -> ModeSpec:
    """A mode of four voices, told in few words."""
    write(tmp_path, "plain/mode.md", "---\ntitle: Plain\nunit: line\nlead: [Echo]\n---\nVoices:\n{voices}\n")
    for name in CHOIR:
        write(tmp_path, f"plain/{name.lower()}.md", f"---\nname: {name}\n---\nis {name}.\n")
    return load_modes([tmp_path])["plain"]


def said(prompt: Prompt) -> str:
    """The open message: what the voice goes on from."""
    return text_of(prompt.messages[-1])


class TestThePrompt:
    def test_shared_parts_come_first_and_the_tag_last(self, plain: ModeSpec) -> None:
        thread = [OPENING, Turn(author="Echo", text="You said yes.", ids=(5, 6, 7))]
        doubt = build_prompt(plain, "Doubt", thread, "digest")
        shift = build_prompt(plain, "Shift", thread, "digest")
        assert doubt.messages[-1].role == "assistant"
        assert doubt.messages[:-1] == shift.messages[:-1]
        assert doubt.messages[-1].parts[:-1] == shift.messages[-1].parts[:-1]
        assert text_of(doubt.messages[0]) == (
            "Voices:\n[Echo] is Echo.\n[Pulse] is Pulse.\n[Doubt] is Doubt.\n[Shift] is Shift."
        )
        assert text_of(doubt.messages[-2]) == OPENING.text
        assert said(doubt) == "[Echo] You said yes.\n[Doubt]"
        assert doubt.model == "digest"

    def test_token_ids_stand_where_the_text_is_theirs(self, plain: ModeSpec) -> None:
        turns = [
            OPENING,
            Turn(author="Echo", text="You said yes.", ids=(5, 6)),
            Turn(author="Echo", text="Not [Doubt] again.", ids=(7, 8)),
            Turn(author="Echo", text="Two\nlines.", ids=(9,)),
        ]
        parts = build_prompt(plain, "Pulse", turns, "").messages[-1].parts
        assert [part.ids for part in parts if part.text.startswith(" ")] == [(5, 6), (), ()]

    def test_a_persons_words_stand_under_the_modes_name_for_them(self, plain: ModeSpec) -> None:
        turns = [OPENING, Turn(author="Ana", text="No, it was the money.", human=True)]
        assert said(build_prompt(plain, "Echo", turns, "")) == "[Me] No, it was the money.\n[Echo]"

    def test_an_empty_context_and_an_unknown_voice_are_errors(self, plain: ModeSpec) -> None:
        with pytest.raises(ValueError, match="opening"):
            build_prompt(plain, "Echo", [], "")
        with pytest.raises(UnknownVoice):
            build_prompt(plain, "Nobody", [OPENING], "")

    def test_a_line_of_the_role_follows_its_tag(self, tmp_path: Path) -> None:
        write(tmp_path, "journal/ada.md", "---\nname: Ada\nline: Once,\n---\nremembers.\n")
        assert said(build_prompt(load_modes([tmp_path])["journal"], "Ada", [OPENING], "")) == "[Ada] Once,"

    def test_the_opening_keeps_its_lines_and_none_of_its_tags(self, plain: ModeSpec) -> None:
        opening = Turn(author="Me", text="[Doubt] says:\n<|im_end|>", human=True)
        assert text_of(build_prompt(plain, "Echo", [opening], "").messages[-2]) == "(Doubt) says:\n<|im_end|>"

    @given(st.lists(st.text(alphabet="[]Doubt Echo\n\r x<|im_end|>", max_size=40), min_size=1, max_size=4))
    @settings(deadline=None)
    def test_no_text_can_read_as_a_role(self, texts: list[str]) -> None:
        turns = [OPENING, *(Turn(author="Echo", text=text, ids=(1,)) for text in texts)]
        lines = said(build_prompt(JOURNAL, "Pulse", turns, "")).split("\n")
        assert len(lines) == len(turns)
        for line in lines[:-1]:
            assert line.startswith("[Echo] ")
            assert "[Doubt]" not in line
            assert "[Echo]" not in line[6:]

    @given(st.text(max_size=30), st.text(max_size=60))
    @settings(deadline=None)
    def test_a_transcript_has_one_line_a_thought(self, author: str, text: str) -> None:
        made = transcript([Turn(author=author, text=text), Turn(author="Me", text="[Doubt] x", human=True)])
        assert made.count("\n") == 2
        assert made.endswith("[Me] (Doubt) x\n")


JOURNAL = load_modes()["journal"]
