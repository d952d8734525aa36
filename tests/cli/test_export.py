"""A thread as a file: readable, lossless, and harmless whatever was said in it."""

import base64
import json
import os
from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import NotWritable, UnknownFormat
from orchestrator.export import (
    FileThere,
    escape,
    export_jsonl,
    export_markdown,
    exporter,
    slug,
    target,
    write_file,
)
from orchestrator.store import Store
from orchestrator.visible import visible
from tests.cli.script import ASKED, Dialogue, Part, Say


def told(store: Store) -> str:
    """A thread with a choice, a refusal before it, an automatic fork, and an open fork at the end."""
    thread = store.begin("journal", "I said yes.", title="The new project", stride=9).id
    dialogue = Dialogue(store, [Say("Echo", "one"), ASKED, Part(ASKED.options, asked=False), ASKED])
    dialogue.step()
    dialogue.step()
    fork = store.open_fork(thread)
    assert fork is not None
    store.choose(fork.id, "none")
    dialogue.step()
    fork = store.open_fork(thread)
    assert fork is not None
    store.choose(fork.id, "own", text="my own words")
    dialogue.step()
    dialogue.step()
    return thread


class TestMarkdown:
    def test_is_a_page_of_callouts_with_the_ways_not_taken_folded_below(self, store: Store) -> None:
        page = export_markdown(store, told(store))
        head, body = page.split("\n# The new project\n")
        assert head.startswith('---\ntitle: "The new project"\nmode: "journal"\n')
        blocks = body.strip().split("\n\n")
        assert blocks[0] == "> [!me] Me\n> I said yes."
        assert blocks[1] == "> [!echo] Echo\n> one"
        assert blocks[2] == "> [!me] Me\n> my own words"
        assert blocks[3].startswith(
            "> [!question]- two meanings at “asked”, 0.9 nats · refused\n> - **1** Was it"
        )
        assert blocks[4].startswith("> [!question]- another draw · not taken")
        assert blocks[5].startswith("> [!doubt] Doubt\n> Was it the project, or")
        assert blocks[6].startswith("> [!question]+ two meanings at “asked”, 0.9 nats · still open")
        assert len(blocks) == 7

    def test_every_line_of_a_thought_stays_in_its_callout(self, store: Store) -> None:
        thread = store.begin("journal", "one\n\n> [!x] two\n\n---\nthree").id
        body = export_markdown(store, thread).split("\n> [!me] Me\n")[1].rstrip("\n")
        assert all(line.startswith(">") for line in body.split("\n"))
        assert "> \\> \\[!x\\] two" in body

    def test_a_hostile_title_is_a_title(self, store: Store) -> None:
        thread = store.begin("journal", "x", title='../"#\n[[x]] <b>').id
        page = export_markdown(store, thread)
        assert 'title: "../\\"#\\n[[x]] <b>"' in page
        assert '# ../"\\# \\[\\[x\\]\\] \\<b\\>\n' in page

    @pytest.mark.parametrize(
        ("text", "escaped"),
        [
            ("<script>alert(1)</script>", "\\<script\\>alert(1)\\</script\\>"),
            ("![x](http://y/z.png)", "\\!\\[x\\](http://y/z.png)"),
            ("# not a heading", "\\# not a heading"),
            ("- not a list", "\\- not a list"),
            ("1. not a list", "1\\. not a list"),
            (
                "a *b* _c_ `d` ~~e~~ ==f== $g$ %%h%%",
                "a \\*b\\* \\_c\\_ \\`d\\` \\~\\~e\\~\\~ \\==f\\== \\$g\\$ \\%%h\\%%",
            ),
            ("[[note]] #tag ^id | &amp; \\", "\\[\\[note\\]\\] \\#tag \\^id \\| \\&amp; \\\\"),
            ("    not code", "\u00a0\u00a0\u00a0\u00a0not code"),
            ("Really! At 9:40 - yes & no, 50 % = half.", "Really! At 9:40 - yes & no, 50 % = half."),
        ],
    )
    def test_text_means_itself(self, text: str, escaped: str) -> None:
        assert escape(text) == escaped


def test_what_steers_a_terminal_or_turns_writing_is_made_visible() -> None:
    assert visible("a\x1b[2Jb\u202ec\x00\x85\n\td") == "a␛[2Jb⟨202E⟩c␀\ufffd\n\td"
    assert visible("שלום · 思考 · 🙂") == "שלום · 思考 · 🙂"


class TestJsonl:
    def lines(self, store: Store, thread: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in export_jsonl(store, thread).splitlines()]

    def test_holds_every_fact_once(self, store: Store) -> None:
        thread = told(store)
        kinds = [line["record"] for line in self.lines(store, thread)]
        assert kinds[:2] == ["export", "thread"]
        assert {kind: kinds.count(kind) for kind in set(kinds)} == {
            "export": 1,
            "thread": 1,
            "thought": 4,
            "decision": 5,
            "fork": 4,
            "option": 7,
            "choice": 3,
        }

    def test_loses_nothing(self, store: Store) -> None:
        thread = told(store)
        lines = self.lines(store, thread)
        options = [option for fork in store.forks(thread) for option in fork.options]
        for line, option in zip([line for line in lines if line["record"] == "option"], options, strict=True):
            fields = {name: value for name, value in line.items() if name != "record"}
            assert base64.b64decode(fields["hidden"]) == option.hidden
            assert type(option).model_validate(fields | {"hidden": option.hidden}) == option
        thoughts = [line for line in lines if line["record"] == "thought"]
        for line, thought in zip(thoughts, store.tree(thread), strict=True):
            fields = {name: value for name, value in line.items() if name != "record"}
            assert type(thought).model_validate(fields) == thought


def test_an_unknown_format_names_those_there_are() -> None:
    with pytest.raises(UnknownFormat, match=r"pdf.*md, jsonl"):
        exporter("pdf")


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("The new project", "the-new-project"),
        ("../../etc/passwd", "etc-passwd"),
        ("> [!x]", "x"),
        ("…", "thread"),
        ("Отец, звонок", "отец-звонок"),
        ("a" * 200, "a" * 60),
    ],
)
def test_a_title_becomes_a_file_name_and_never_a_path(title: str, name: str) -> None:
    assert slug(title) == name


class TestWriting:
    def test_a_directory_gets_a_file_named_after_the_thread(self, tmp_path: Path) -> None:
        assert target(tmp_path, "The project", "md") == tmp_path / "the-project.md"
        assert target(tmp_path / "x.md", "The project", "md") == tmp_path / "x.md"

    def test_never_writes_over_a_file_unless_forced(self, tmp_path: Path) -> None:
        path = tmp_path / "page.md"
        write_file(path, "first")
        with pytest.raises(FileThere, match="--force"):
            write_file(path, "second")
        assert path.read_text() == "first"
        write_file(path, "second", force=True)
        assert path.read_text() == "second"
        assert os.listdir(tmp_path) == ["page.md"]

    def test_an_interrupted_one_leaves_nothing(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def broken(handle: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", broken)
        with pytest.raises(Exception, match=r"Cannot write .*page.md: No space left"):
            write_file(tmp_path / "page.md", "text")
        assert os.listdir(tmp_path) == []

    def test_a_place_that_is_not_there_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(NotWritable, match=r"nowhere.*--out"):
            write_file(tmp_path / "nowhere" / "page.md", "text")
