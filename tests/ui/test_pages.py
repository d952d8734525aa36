"""The pages as Streamlit makes them, without a browser: what is on them, and that nothing shows a traceback."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from importlib import resources

import pytest
from streamlit.testing.v1 import AppTest

from orchestrator.settings import Settings
from orchestrator.store import Store, ThreadRecord
from ui import house
from ui.component import PARTS, ago
from ui.doors import Doors
from ui.server import SCRIPT
from voices.role import load_modes


@pytest.fixture
def home(settings: Settings, store: Store) -> Iterator[house.House]:
    opened = house.House(settings, store, load_modes(), Doors(b"k" * 32))
    house.enter(opened)
    yield opened
    house.leave()


def page(**query: str) -> AppTest:
    test = AppTest.from_file(SCRIPT, default_timeout=30)
    for key, value in query.items():
        test.query_params[key] = value
    return test.run()


def text(test: AppTest) -> str:
    return "\n".join(str(one.proto) for one in test.main)


class TestScreens:
    def test_the_first_page_opens_without_a_thread(self, home: house.House) -> None:
        test = page()
        assert not test.exception
        assert "What is on your mind?" in text(test)

    def test_a_thread_has_its_stage_and_can_be_saved(self, home: house.House, thread: ThreadRecord) -> None:
        test = page(thread=thread.id)
        assert not test.exception
        assert thread.id in text(test)
        assert [one.label for one in test.sidebar.get("download_button")] == [
            "Save as Markdown",
            "Save as JSONL",
        ]

    def test_a_beginning_of_an_id_is_enough(self, home: house.House, thread: ThreadRecord) -> None:
        assert thread.id in text(page(thread=thread.id[:-4]))

    @pytest.mark.parametrize("asked", ["nope", "", "<script>alert(1)</script>"])
    def test_an_unknown_thread_is_a_kind_page_with_a_way_home(self, home: house.House, asked: str) -> None:
        test = page(thread=asked)
        assert not test.exception
        assert "This thread is not here." in text(test)
        assert "Begin anew" in text(test)
        assert "<script>" not in text(test)

    def test_all_threads_are_listed_and_the_archived_apart(
        self, home: house.House, store: Store, thread: ThreadRecord
    ) -> None:
        store.archive(store.begin("steps", "An old problem").id)
        test = page(page="threads")
        assert not test.exception
        assert "I said yes and cannot sleep." in text(test)
        assert "An old problem" in text(test)

    def test_a_title_is_never_read_as_markup(self, home: house.House, store: Store) -> None:
        store.begin("journal", "**bold** [link](http://evil.example) :red[x] <b>")
        test = page(page="threads")
        # Titles travel as a component's data, never through Streamlit's Markdown.
        assert not [one for one in (*test.markdown, *test.sidebar.markdown) if "bold" in one.value]


class TestErrors:
    def test_a_page_that_fails_says_so_without_a_traceback(self) -> None:
        def script() -> None:
            from ui.theme import on_script_error

            on_script_error(ValueError("a secret path"))

        test = AppTest.from_function(script, default_timeout=30).run()
        assert not test.exception
        assert "This page stumbled." in text(test)
        assert "secret" not in text(test)


class TestWords:
    @pytest.mark.parametrize("component", PARTS)
    def test_the_scripts_never_write_markup(self, component: str) -> None:
        folder = resources.files("ui") / "stage"
        script = "\n".join((folder / f"{part}.js").read_text(encoding="utf-8") for part in PARTS[component])
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", script)
        assert script.count("export default") == 1

    def test_nothing_on_the_pages_names_another_machine(self) -> None:
        folder = resources.files("ui") / "stage"
        for part in folder.iterdir():
            found = re.findall(r"https?://[^\s\"']+", part.read_text(encoding="utf-8"))
            assert set(found) <= {"http://www.w3.org/2000/svg"}, part.name  # a name, not an address

    def test_time_is_told_coarsely(self, thread: ThreadRecord) -> None:
        now = thread.created_at
        told = [ago(now, now - timedelta(seconds=s)) for s in (-5, 5, 300, 7_500, 100_000)]
        assert told == ["just now", "just now", "5 min ago", "2 h ago", "1 d ago"]
        assert re.fullmatch(r"\d+ \w{3}( \d{4})?", ago(now, now - timedelta(days=20)))
