"""What a page may say to the server, validated.

Owns the shapes of the client's events and of their acknowledgement. Must not know what they lead to.
`id` is one event for ever: sent again after a reconnect, it is answered with the first answer.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError

from orchestrator.text import scrub
from voices.wire import Frozen

Via = Literal["click", "key", "dwell", "switch", "text"]
WORDS_LIMIT = 2_000_000
"""Characters of a text before it is even looked at; the store's limit, far lower, has its own message."""

Id = Annotated[str, Field(min_length=8, max_length=64)]
Text = Annotated[str, Field(max_length=WORDS_LIMIT)]


class _Event(Frozen):
    id: Id
    seq: int = 0


class Choose(_Event):
    """An answer to the fork on the page: an option, an edit of it, own words, or none of them."""

    type: Literal["choose"] = "choose"
    fork: str
    kind: Literal["option", "edit", "own", "none"]
    option: str | None = None
    text: Text | None = None
    via: Via = "click"
    seconds: float = Field(0.0, ge=0.0, le=86_400.0 * 30)
    seen: str = Field("", max_length=128)


class Say(_Event):
    """Own words where no fork is open. `expected_tip`: the last thought the page showed."""

    type: Literal["say"] = "say"
    text: Text
    expected_tip: str


class Undo(_Event):
    """Back to my last decision. `last` is the view's mark of it: another one means it was undone already."""

    type: Literal["undo"] = "undo"
    last: str


class Stop(_Event):
    type: Literal["stop"] = "stop"


class Go(_Event):
    type: Literal["go"] = "go"


class Draft(_Event):
    type: Literal["draft"] = "draft"
    text: Text


class Rename(_Event):
    type: Literal["rename"] = "rename"
    title: Text


class Earlier(_Event):
    """The thoughts before this one, of a long thread."""

    type: Literal["earlier"] = "earlier"
    before: str


class Ways(_Event):
    """The ways not taken at a thought."""

    type: Literal["ways"] = "ways"
    thought: str


PageEvent = Choose | Say | Undo | Stop | Go | Draft | Rename | Earlier | Ways
_event: TypeAdapter[PageEvent] = TypeAdapter(Annotated[PageEvent, Field(discriminator="type")])


class BadEvent(ValueError):
    """Not an event of ours; `body` is what could be read of it."""

    def __init__(self, message: str, body: dict[str, Any]) -> None:
        super().__init__(message)
        self.body = body


class Ack(Frozen):
    """The answer to one event. `again`: not saved yet, the page keeps it and sends it once more."""

    type: Literal["ack"] = "ack"
    id: str
    seq: int
    ok: bool
    message: str = ""
    again: bool = False
    data: dict[str, Any] = Field(default_factory=dict)


def read_event(raw: str) -> PageEvent:
    """The event in a text frame. Raises BadEvent."""
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise BadEvent("not JSON", {}) from error
    if not isinstance(body, dict):
        raise BadEvent("not an object", {})
    # A lone surrogate is legal in JSON and in no UTF-8 text: U+FFFD here, so that the words are not refused.
    body = {str(key): scrub(value) if isinstance(value, str) else value for key, value in body.items()}
    try:
        return _event.validate_python(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BadEvent(f"{where}: {first['msg']}" if where else first["msg"], body) from error
