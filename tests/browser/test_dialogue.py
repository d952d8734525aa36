"""What a person does at the page, with keys and with the mouse, and finds in the store."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.browser.conftest import Interface, Visit, begin, calm, fork, on_thread
from tests.ui.stage_double import LINES, OPTIONS, PREFIX, REASON

OPENING = "I said yes to the new project and now I cannot sleep."


def test_begin_a_journal_meet_a_fork_and_choose_with_a_key(interface: Interface, visit: Visit) -> None:
    page = visit(interface.url)
    thread = begin(page, OPENING)
    open_fork = fork(page)
    expect(page.locator(".thoughts .text")).to_have_text([OPENING, *LINES[:3]])
    expect(open_fork.locator(".reason")).to_have_text(REASON)
    expect(open_fork.locator(".card .key")).to_have_text(["1", "2", "3"])
    expect(open_fork.locator(".card").first.locator(".voice")).to_have_text(["Doubt", "Echo"])
    page.keyboard.press("2")
    chosen = PREFIX + OPTIONS[0][1][0]
    expect(page.locator(".thoughts .text").nth(4)).to_have_text(chosen)
    with interface.store() as store:
        first = store.forks(thread)[0]
        assert first.choice is not None
        assert (first.choice.kind, first.choice.via) == ("option", "key")
        assert first.choice.option_id == first.options[1].id
        assert first.choice.seen == first.seen
        assert [one.text for one in store.path(thread)][4] == chosen


def test_a_card_is_chosen_by_click_and_by_arrows_and_enter(interface: Interface, visit: Visit) -> None:
    page, thread = on_thread(interface, visit, OPENING)
    fork(page).locator(".card").nth(2).click()
    expect(page.locator(".thoughts .text").nth(4)).to_have_text(PREFIX + OPTIONS[0][2][0])
    fork(page)
    calm(page)
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    expect(page.locator(".card").nth(1)).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator(".thoughts .text").nth(8)).to_have_text(PREFIX + OPTIONS[0][1][0])
    with interface.store() as store:
        assert [one.choice.via for one in store.forks(thread) if one.choice] == ["click", "key"]


def test_any_letter_starts_own_words_and_enter_says_them(interface: Interface, visit: Visit) -> None:
    page, thread = on_thread(interface, visit, OPENING)
    fork(page)
    page.keyboard.type("no, it was the money: 1, 2 or 3 rounds of it")
    expect(page.locator(".words")).to_have_value("no, it was the money: 1, 2 or 3 rounds of it")
    page.keyboard.press("Enter")
    expect(page.locator(".thoughts .human .text").last).to_have_text(
        "no, it was the money: 1, 2 or 3 rounds of it"
    )
    expect(page.locator(".words")).to_have_value("")
    with interface.store() as store:
        first = store.forks(thread)[0]
        assert first.choice is not None
        assert (first.choice.kind, first.choice.option_id) == ("own", None)


def test_the_keys_of_streamlit_are_letters_here(interface: Interface, visit: Visit) -> None:
    page, _ = on_thread(interface, visit, OPENING)
    fork(page)
    page.keyboard.type("really, c or r")
    expect(page.locator(".words")).to_have_value("really, c or r")
    expect(page.locator("[role=dialog]")).to_have_count(0)


def test_an_option_is_edited_before_it_is_taken(interface: Interface, visit: Visit) -> None:
    page, thread = on_thread(interface, visit, OPENING)
    fork(page)
    page.keyboard.press("ArrowDown")
    page.keyboard.press("e")
    box = page.locator(".editing textarea")
    expect(box).to_have_value(PREFIX + OPTIONS[0][0][0])
    page.keyboard.press("Escape")
    expect(page.locator(".editing")).to_have_count(0)
    page.keyboard.press("e")
    box.fill("Was it the person who asked at 3 in the morning?")
    page.keyboard.press("Enter")
    expect(page.locator(".thoughts .text").nth(4)).to_have_text(
        "Was it the person who asked at 3 in the morning?"
    )
    with interface.store() as store:
        said = store.path(thread)[4]
        assert said.edited
        assert (said.author, said.text) == ("Doubt", "Was it the person who asked at 3 in the morning?")


def test_none_of_these_brings_another_draw(interface: Interface, visit: Visit) -> None:
    page, thread = on_thread(interface, visit, OPENING)
    first = fork(page).get_attribute("data-fork")
    page.keyboard.press("x")
    expect(page.locator(f".fork:not(.answered):not([data-fork='{first}']) .card")).to_have_count(2)
    calm(page)
    page.keyboard.press("1")
    expect(page.locator(".thoughts .text").nth(4)).to_have_text(PREFIX + OPTIONS[1][0][0])
    with interface.store() as store:
        assert [one.choice.kind for one in store.forks(thread) if one.choice] == ["none", "option"]


def test_nothing_jumps_while_one_draw_follows_another(interface: Interface, visit: Visit) -> None:
    page, _ = on_thread(interface, visit, OPENING)
    fork(page)

    def places() -> list[float]:
        return [box["y"] for item in page.locator(".thoughts > li").all() if (box := item.bounding_box())]

    before = places()
    page.keyboard.press("x")
    expect(page.locator(".fork:not(.answered) .card")).to_have_count(2)
    assert places() == before
    page.keyboard.type("or own words")
    assert places() == before


def test_undo_goes_back_over_automatic_thoughts_to_the_last_decision(
    interface: Interface, visit: Visit
) -> None:
    page, thread = on_thread(interface, visit, OPENING)
    fork(page)
    page.keyboard.press("1")
    expect(page.locator(".thoughts > li")).to_have_count(8)
    fork(page)
    calm(page)
    page.keyboard.press("z")
    expect(page.locator(".thoughts > li")).to_have_count(4)
    expect(fork(page).locator(".reason")).to_contain_text("open again")
    expect(page.locator(".card")).to_have_count(3)
    calm(page)
    page.keyboard.press("3")
    expect(page.locator(".thoughts .text").nth(4)).to_have_text(PREFIX + OPTIONS[0][2][0])
    with interface.store() as store:
        texts = [one.text for one in store.tree(thread)]
        assert PREFIX + OPTIONS[0][0][0] in texts  # what was undone is still there


def test_a_reload_shows_the_same_fork_and_the_draft(interface: Interface, visit: Visit) -> None:
    page, thread = on_thread(interface, visit, OPENING)
    before = fork(page).get_attribute("data-fork")
    page.keyboard.type("half a thou")
    with page.expect_event("websocket"):
        page.reload()
    assert fork(page).get_attribute("data-fork") == before
    expect(page.locator(".thoughts > li")).to_have_count(4)
    expect(page.locator(".words")).to_have_value("half a thou")
    with interface.store() as store:
        assert store.draft(thread) == "half a thou"
        assert len(store.forks(thread)) == 1


def test_of_two_pages_the_first_wins_and_the_other_is_told(interface: Interface, visit: Visit) -> None:
    ana = visit(interface.url)
    thread = begin(ana, OPENING)
    ben = visit(interface.thread_url(thread))
    assert fork(ana).get_attribute("data-fork") == fork(ben).get_attribute("data-fork")
    ana.keyboard.press("2")
    ben.keyboard.press("1")
    expect(ben.locator(".notice")).to_have_text("Another page chose 2 a moment ago.")
    for page in (ana, ben):
        expect(page.locator(".thoughts .text").nth(4)).to_have_text(PREFIX + OPTIONS[0][1][0])
    with interface.store() as store:
        assert store.integrity() == []


def test_the_ways_not_taken_can_be_looked_at(interface: Interface, visit: Visit) -> None:
    page, _ = on_thread(interface, visit, OPENING)
    fork(page)
    page.keyboard.press("1")
    page.locator(".thoughts .ways").click()
    expect(page.locator(".untaken .text")).to_have_text([PREFIX + rest for rest, _, _ in OPTIONS[0][1:]])


def test_a_thread_is_renamed_on_its_page_and_in_the_list(interface: Interface, visit: Visit) -> None:
    page, thread = on_thread(interface, visit, OPENING)
    page.locator(".title[aria-label]").fill("the new project")
    page.keyboard.press("Enter")
    expect(page.locator(".shelf.short [aria-current] .title")).to_have_text("the new project")
    with interface.store() as store:
        assert store.thread(thread).title == "the new project"


def test_the_list_opens_renames_archives_and_the_back_button_returns(
    interface: Interface, visit: Visit
) -> None:
    page, thread = on_thread(interface, visit, "a thread for the list")
    fork(page)
    page.locator(".shelf.short .below a").click()
    row = page.locator(f".shelf.full [data-thread='{thread}']")
    expect(row.locator(".facts")).to_contain_text("a fork is waiting · journal · 4 thoughts")
    row.locator("[data-act=rename]").click()
    page.locator(".shelf .rename").fill("renamed in the list")
    page.keyboard.press("Enter")
    expect(row.locator(".title")).to_have_text("renamed in the list")
    row.locator("a").click()
    fork(page)
    page.go_back()
    row.locator("[data-act=archive]").click()
    expect(page.locator(".shelf.full .head", has_text="archived")).to_be_visible()
    with interface.store() as store:
        assert store.thread(thread).archived_at is not None


def test_a_thread_is_saved_as_markdown(interface: Interface, visit: Visit) -> None:
    page, _ = on_thread(interface, visit, OPENING)
    fork(page)
    with page.expect_download() as waiting:
        page.get_by_text("Save as Markdown").click()
    text = waiting.value.path().read_text(encoding="utf-8")
    assert "You said yes before the day had ended" in text
