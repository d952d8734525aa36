"""The commands that only read, and what every mistake is answered with."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator import cli
from orchestrator.store import Store
from tests.cli.script import ASKED, Dialogue, Say

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def inner(capsys: pytest.CaptureFixture[str]) -> Run:
    """(exit code, stdout, stderr) of a command."""

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            cli.main(list(arguments))
        said = capsys.readouterr()
        code = ended.value.code
        return int(code or 0), said.out, said.err

    return run


@pytest.fixture
def thread(store: Store) -> str:
    """A thread with an open fork after one thought."""
    begun = store.begin("journal", "I said yes.", title="The new project", stride=5).id
    dialogue = Dialogue(store, [Say("Echo", "one"), ASKED])
    dialogue.step()
    dialogue.step()
    return begun


class TestThreads:
    def test_lists_them_with_an_open_fork_marked(self, inner: Run, thread: str, store: Store) -> None:
        store.begin("steps", "12 * 12", title="Sums")
        code, out, _ = inner("threads")
        lines = out.splitlines()
        assert code == 0
        assert lines[0].startswith("○ ")
        assert "Sums" in lines[0]
        assert lines[1].startswith(f"● {thread[:13]}  The new project")
        assert "2 thoughts  journal" in lines[1]

    def test_as_json_is_one_object_a_line(self, inner: Run, thread: str) -> None:
        _, out, _ = inner("threads", "--json")
        assert [json.loads(line)["id"] for line in out.splitlines()] == [thread]

    def test_archived_ones_are_apart(self, inner: Run, thread: str, store: Store) -> None:
        store.archive(thread)
        assert "No threads yet" in inner("threads")[1]
        assert "The new project" in inner("threads", "--archived")[1]

    def test_without_a_store_there_are_none_and_none_is_made(self, inner: Run, home: Path) -> None:
        code, out, _ = inner("threads")
        assert (code, "inner think" in out) == (0, True)
        assert inner("threads", "--json") == (0, "", "")
        assert not home.exists()


class TestShow:
    def test_the_path_and_the_open_fork(self, inner: Run, thread: str) -> None:
        _, out, _ = inner("show", thread[:18])
        for words in ("The new project", "Me    I said yes.", "■ Echo  one", "1 ●■ Was it", "two meanings"):
            assert words in out

    def test_the_tree_has_every_branch(self, inner: Run, thread: str, store: Store) -> None:
        dialogue = Dialogue(store, [])
        for words in ("first words", "second words"):
            fork = store.open_fork(thread)
            assert fork is not None
            store.choose(fork.id, "own", text=words)
            dialogue.step()
            if words == "first words":
                store.undo(thread)
        _, out, _ = inner("show", thread, "--tree")
        assert "├──   Me first words" in out
        assert "└──   Me second words" in out

    def test_as_json_has_path_branches_and_forks(self, inner: Run, thread: str) -> None:
        shown = json.loads(inner("show", thread, "--json")[1])
        assert shown["thread"]["id"] == thread
        assert [thought["text"] for thought in shown["path"]] == ["I said yes.", "one"]
        assert len(shown["branches"]) == 2
        assert [option["key"] for option in shown["forks"][0]["options"]] == [1, 2]
        assert shown["forks"][0]["choice"] is None


class TestExport:
    def test_goes_to_stdout(self, inner: Run, thread: str) -> None:
        _, out, _ = inner("export", thread)
        assert "> [!echo] Echo\n> one\n" in out

    def test_or_to_a_file_and_says_which(self, inner: Run, thread: str, tmp_path: Path) -> None:
        place = tmp_path / "vault"
        place.mkdir()
        code, out, _ = inner("export", thread, "--format", "jsonl", "--out", str(place))
        assert (code, out) == (0, f"{place / 'the-new-project.jsonl'}\n")
        code, _, err = inner("export", thread, "--format", "jsonl", "--out", str(place))
        assert (code, "--force" in err) == (2, True)
        assert inner("export", thread, "--format", "jsonl", "--out", str(place), "--force")[0] == 0


class TestMistakes:
    @pytest.mark.parametrize(
        ("arguments", "code", "message", "hint"),
        [
            (("think", "  "), 2, "The opening thought has no words in it.", "at least one word"),
            (("think", "\u200b"), 2, "The opening thought has no words in it.", "at least one word"),
            (("think", "a" * 20_001), 2, "20,001 characters long; the limit is 20,000", "Nothing was saved"),
            (("think", "x", "--mode", "diary"), 2, "There is no mode 'diary'.", "brainstorm, journal, steps"),
            (("think", "x", "--budget", "2"), 2, "--budget is 2", "0 (never ask)"),
            (("show", "nothing"), 2, "There is no thread 'nothing'.", "The new project"),
            (("resume", "nothing"), 2, "There is no thread 'nothing'.", "The new project"),
            (("export", "nothing", "--format", "pdf"), 2, "There is no format 'pdf'.", "md, jsonl"),
            (("voice", "run", "nowhere.py"), 2, "There is no file nowhere.py.", "voices.Voice"),
        ],
    )
    def test_are_one_line_and_what_to_do(
        self, inner: Run, thread: str, arguments: tuple[str, ...], code: int, message: str, hint: str
    ) -> None:
        ended, out, err = inner(*arguments)
        lines = err.splitlines()
        assert (ended, out) == (code, "")
        assert message in lines[0]
        assert hint in lines[1]
        assert lines[0].startswith("error: ")
        assert len(lines) == 2

    def test_a_thread_where_there_is_no_store_is_unknown(self, inner: Run) -> None:
        for command in ("show", "resume", "export"):
            code, _, err = inner(command, "0199")
            assert (code, "There is no thread '0199'" in err) == (2, True)

    def test_a_bad_flag_value_names_what_is_allowed(self, inner: Run) -> None:
        code, _, err = inner("think", "x", "--arbiter", "cat")
        assert code == 2
        assert "'terminal', 'web', 'auto'" in " ".join(err.split())

    def test_a_prompt_file_is_named_with_its_line(self, inner: Run, home: Path) -> None:
        place = home / "prompts" / "journal"
        place.mkdir(parents=True)
        (place / "skeptic.md").write_text("---\nname: Skeptic\ncolor: red\n---\ndoubts\n", encoding="utf-8")
        code, _, err = inner("think", "x")
        assert code == 2
        assert f"{place / 'skeptic.md'}:3: unknown key 'color'" in err
        assert "allowed keys: name, colour" in err

    def test_a_model_that_is_not_there_is_named_before_anything_starts(self, inner: Run, home: Path) -> None:
        code, _, err = inner("think", "x", "--model", "/nowhere/m.gguf", "--arbiter", "auto", "--json")
        assert code == 5
        assert "/nowhere/m.gguf" in err
        assert not (home / "run" / "engine.sock").exists()

    def test_nobody_sees_a_traceback_unless_asked(
        self, inner: Run, monkeypatch: pytest.MonkeyPatch, thread: str
    ) -> None:
        def broken(*_: object, **__: object) -> None:
            raise RuntimeError("a mistake of ours")

        monkeypatch.setattr(Store, "threads", broken)
        code, _, err = inner("threads")
        assert code == 70
        assert err.splitlines() == [
            "error: RuntimeError: a mistake of ours",
            "This is a mistake in Inner Dialogue. Run it again with --debug to see where.",
        ]


class TestHelp:
    def test_teaches_by_examples(self, inner: Run) -> None:
        for command in ("run", "think", "resume", "threads", "show", "export", "doctor"):
            code, out, _ = inner(command, "--help")
            assert code == 0
            assert f"inner {command}" in out

    def test_says_how_think_ends(self, inner: Run) -> None:
        out = " ".join(inner("think", "--help")[1].split())
        assert "after Ctrl-C too (the thread is kept)" in out

    def test_the_version_is_the_package_s(self, inner: Run) -> None:
        code, out, _ = inner("--version")
        assert (code, out) == (0, "inner 0.1.0\n")
