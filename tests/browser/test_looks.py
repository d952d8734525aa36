"""What everybody must be able to see and reach: light, dark, phone, keyboard, reduced motion."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib import resources
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Interface, Visit, fork, on_thread, running
from tests.ui.stage_double import Script


def violations(page: Page) -> list[str]:
    """What axe-core finds in our parts of the page, one line each."""
    page.evaluate((resources.files("axe_core_python") / "axe.min.js").read_text(encoding="utf-8"))
    found: dict[str, Any] = page.evaluate(
        "() => axe.run(document, {resultTypes: ['violations'], rules: {region: {enabled: false}}})"
    )
    return [
        f"{one['id']}: {json.dumps(node['target'])} {node['failureSummary']}"
        for one in found["violations"]
        for node in one["nodes"]
        if any(part in json.dumps(node["target"]) for part in ("stBidi", "shelf", "stage", "begin"))
    ]


def small_targets(page: Page) -> list[str]:
    """Buttons and links of ours that are visible and under 48 px in a direction."""
    found: list[str] = page.evaluate(
        """() => {
            const roots = [...document.querySelectorAll('[data-testid=stBidiComponentIsolated]')];
            return roots.flatMap((host) => [...host.shadowRoot.querySelectorAll('button, a')])
                .map((one) => [one, one.getBoundingClientRect()])
                .filter(([, box]) => box.width && box.height && box.right > 1)
                .filter(([, box]) => box.height < 47.5 || box.width < 47.5)
                .map(([one, box]) => `${one.className} ${one.textContent} ${box.width}x${box.height}`);
        }"""
    )
    return found


def too_wide(page: Page) -> bool:
    return bool(page.evaluate("document.documentElement.scrollWidth > innerWidth"))


@pytest.mark.parametrize(("phone", "dark"), [(False, False), (False, True), (True, True)])
def test_every_screen_is_reachable_readable_and_fits(
    interface: Interface, visit: Visit, phone: bool, dark: bool
) -> None:
    page, _ = on_thread(
        interface, visit, "for everybody, however they come here today", phone=phone, dark=dark
    )
    fork(page)
    check(page)
    for address, sign in (
        (f"{interface.url}/?page=threads", ".shelf.full a"),
        (interface.url, ".begin [data-mode]"),
    ):
        page.goto(address)
        page.locator(sign).first.wait_for()
        check(page)


def check(page: Page) -> None:
    page.wait_for_timeout(300)  # colours move into place
    assert violations(page) == [], page.url
    assert small_targets(page) == [], page.url
    assert not too_wide(page), page.url


def test_dark_and_light_follow_the_system(interface: Interface, visit: Visit) -> None:
    for dark in (False, True):
        page = visit(interface.url, dark=dark)
        page.locator(".begin").wait_for()
        expect(page.locator(".begin")).to_have_attribute("data-theme", "dark" if dark else "light")


def test_a_person_can_do_it_all_without_a_mouse(interface: Interface, visit: Visit) -> None:
    page = visit(interface.url)
    page.locator(".begin .opening").wait_for()
    expect(page.locator(".begin .opening")).to_be_focused()
    page.keyboard.type("with nothing but keys")
    page.keyboard.press("Enter")
    fork(page)
    page.keyboard.press("?")
    expect(page.locator(".keys")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator(".keys")).to_be_hidden()
    fork(page)  # Escape closed the help, and refused nothing
    page.keyboard.press("ArrowUp")
    expect(page.locator(".card").nth(2)).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator(".thoughts > li")).to_have_count(8)
    expect(fork(page).locator(".card").first).to_be_focused()  # the focus is given back to who came by it


def test_new_thoughts_and_the_question_are_announced(interface: Interface, visit: Visit) -> None:
    page, _ = on_thread(interface, visit, "said aloud")
    fork(page)
    live = page.locator(".live[role=status][aria-live=polite]")
    expect(live).to_contain_text("Two meanings at")
    expect(live).to_contain_text("3 options")


@pytest.fixture(scope="module")
def talkative() -> Iterator[Interface]:
    """Thoughts without end, word by word."""
    with running(Script(fork_every=10_000, word_s=0.03)) as one:
        yield one


def test_words_appear_as_they_are_spoken_and_space_stops_them(talkative: Interface, visit: Visit) -> None:
    with talkative.store() as store:
        thread = store.begin("journal", "endless talk", stride=500).id
    page = visit(talkative.thread_url(thread))
    expect(page.locator(".speaking .lead .text")).to_contain_text("You said yes")
    page.keyboard.press("Space")
    expect(page.locator(".run")).to_have_text("Spacego on")
    expect(page.locator(".still")).to_have_text(
        "The voices rest. Write something, or let them go on with Space."
    )
    with talkative.store() as store:
        assert store.thread(thread).remaining == 0
    page.keyboard.press("Space")
    expect(page.locator(".run")).to_have_text("Spacestop")


def test_the_view_follows_only_who_is_at_the_end(talkative: Interface, visit: Visit) -> None:
    with talkative.store() as store:
        thread = store.begin("journal", "a long talk", stride=500).id
    page = visit(talkative.thread_url(thread), still=True)
    expect(page.locator(".thoughts > li").nth(8)).to_be_attached()
    flow = page.locator(".flow")
    assert flow.evaluate("flow => flow.scrollHeight - flow.scrollTop - flow.clientHeight") < 64
    flow.evaluate("flow => { flow.scrollTop = 0; }")
    expect(page.locator(".newest")).to_be_visible()  # something new came, and the page stayed
    assert flow.evaluate("flow => flow.scrollTop") == 0
    page.locator(".newest").click()
    assert flow.evaluate("flow => flow.scrollHeight - flow.scrollTop - flow.clientHeight") < 64
