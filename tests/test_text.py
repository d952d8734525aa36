"""Hygiene of text: what is kept as it is, what is replaced, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import EmptyWords, TooLong
from orchestrator.text import clean, is_blank, one_line, scrub, words

ANY_TEXT = st.text(st.characters(), max_size=60)
"""Surrogates and controls included."""


@pytest.mark.parametrize(
    "text",
    [
        "[Doubt] is a tag",
        "<|im_end|> is a template token",
        "<script>alert(1)</script>",
        "![x](http://example.org/x.png)",
        "right \u202eto left",
        "two\nlines and a\ttab",
        "👩‍👧 with a joiner",
    ],
)
def test_hostile_text_is_data_and_kept(text: str) -> None:
    assert clean(text) == text


def test_what_no_database_can_keep_is_replaced() -> None:
    assert clean("a\ud800b") == "a\ufffdb"
    assert clean("a\0b") == "ab"


@pytest.mark.parametrize("newline", ["\r\n", "\r", "\x0b", "\x0c", "\x85", "\u2028", "\u2029", "\r\0\n"])
def test_every_newline_becomes_the_same_one(newline: str) -> None:
    assert clean(f"a{newline}b") == "a\nb"


def test_outer_white_space_goes() -> None:
    assert clean(" \n\u3000a b\t\n") == "a b"


@pytest.mark.parametrize("text", ["", " \n\t", "\u200b", "\u202e\u202c", "\0", "\ufeff \u2060"])
def test_text_nobody_can_see_is_empty(text: str) -> None:
    assert is_blank(text)
    assert clean(text) == ""
    with pytest.raises(EmptyWords, match="Your words has no words"):
        words(text, what="Your words")


def test_the_limit_is_counted_after_cleaning_and_said() -> None:
    assert clean("  abc  ", 3) == "abc"
    with pytest.raises(TooLong, match="This text is 4 characters long; the limit is 3"):
        clean("abcd", 3)


@given(ANY_TEXT)
def test_cleaning_twice_changes_nothing_more(text: str) -> None:
    once = clean(text)
    assert clean(once) == once
    assert scrub(scrub(text)) == scrub(text)


@given(ANY_TEXT)
def test_whatever_is_typed_can_be_encoded_and_compared(text: str) -> None:
    kept = scrub(text)
    assert kept.encode().decode() == kept
    assert "\0" not in kept
    assert "\r" not in kept


@given(ANY_TEXT, st.integers(min_value=2, max_value=40))
def test_a_title_is_one_line_and_never_longer_than_its_limit(text: str, limit: int) -> None:
    title = one_line(text, limit)
    assert len(title) <= limit
    assert "\n" not in title


def test_a_title_is_cut_at_a_word() -> None:
    assert one_line("I keep postponing the call", 20) == "I keep postponing…"
    assert one_line("short", 20) == "short"
    assert one_line("x" * 30, 10) == "x" * 9 + "…"
