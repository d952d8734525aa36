"""How thoughts, forks and counts look in a terminal: rich renderables, nothing printed.

Owns colours, shapes and layout. A voice is colour *and* word *and* shape. Must not know when anything is shown.
Text of thoughts is data: it becomes rich Text, never markup, and what would steer a terminal or turn its writing
direction is made visible.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from orchestrator.answers import HELP
from orchestrator.keyboard import LineEditor
from orchestrator.session import Ending
from orchestrator.store import ForkRecord, OptionRecord, ThoughtRecord, ThreadSummary
from orchestrator.visible import visible
from voices.role import ModeSpec

SHAPES = {
    "square": "■",
    "triangle": "▲",
    "circle": "●",
    "cross": "✚",
    "diamond": "◆",
    "star": "★",
    "hexagon": "⬢",
}
UNKNOWN_SHAPE = "◇"
NARROW = 60
"""Columns under which a thought stands below its tag instead of beside it."""
WIDE = 84
"""Columns from which a list of threads has all its columns."""
SHORT_ID = 13
WHEN = 16
TEXT_WIDTH = 88
"""Columns a thought takes at most: longer lines are hard to read."""
DIM = "dim"
KEYS_LINE = "1–9 choose   e 2 edit   x none of these   z undo   g go on   s stop   ? help   or your own words"
KEYS_SHORT = "1–9 · e 2 · x · z · g · s · ? · own words"


def on_light(environment: Mapping[str, str] = os.environ) -> bool:
    """True where the terminal says its background is light (COLORFGBG); dark is the commoner case."""
    background = environment.get("COLORFGBG", "").rpartition(";")[2]
    return background.isdigit() and int(background) in (7, 15)


class Palette:
    """The voices of a mode as tags: shape and name in the voice's colour."""

    def __init__(self, mode: ModeSpec | None, *, light: bool) -> None:
        """Without a mode every voice has the same plain look."""
        self._roles = {} if mode is None else {role.name: role for role in mode.voices}
        self._light = light
        self.tag_width = 2 + max([len(name) for name in self._roles] + [len(mode.human) if mode else 0, 5])

    def style(self, voice: str) -> str:
        role = self._roles.get(voice)
        return "bold" if role is None else role.colour[0 if self._light else 1]

    def shape(self, voice: str) -> str:
        role = self._roles.get(voice)
        return UNKNOWN_SHAPE if role is None else SHAPES.get(role.shape, UNKNOWN_SHAPE)

    def tag(self, author: str, *, human: bool = False) -> Text:
        if human:
            return Text(f"  {visible(author)}", style="bold")
        return Text(f"{self.shape(author)} {visible(author)}", style=f"bold {self.style(author)}")

    def shapes(self, voices: tuple[str, ...]) -> Text:
        return Text.assemble(*((self.shape(voice), self.style(voice)) for voice in voices))


def thought_line(
    palette: Palette, author: str, text: Text, width: int, *, human: bool = False
) -> RenderableType:
    """A tag and what was said, hanging; on a narrow terminal one below the other."""
    tag = palette.tag(author, human=human)
    if width < NARROW:
        return Group(tag, Padding(text, (0, 0, 0, 2)))
    grid = Table.grid(padding=(0, 1))
    grid.add_column(width=palette.tag_width, no_wrap=True)
    grid.add_column(max_width=min(TEXT_WIDTH, width - palette.tag_width - 2))
    grid.add_row(tag, text)
    return grid


def thought(palette: Palette, record: ThoughtRecord, width: int) -> RenderableType:
    text = Text(visible(record.text), style="bold" if record.human else "")
    if record.edited:
        text.append("  edited by me", DIM)
    return thought_line(palette, record.author, text, width, human=record.human)


def speaking(palette: Palette, voice: str, words: str, width: int) -> RenderableType:
    """A thought while it is spoken."""
    return thought_line(palette, voice, Text.assemble(visible(words), ("▁", palette.style(voice))), width)


def fork(
    palette: Palette, record: ForkRecord, width: int, *, ahead: bool = True, keys: bool = True
) -> RenderableType:
    """The question in one line, then the options with their keys; `keys`: and what else can be pressed."""
    reason = visible(record.reason) or "the way forks here"
    rows: list[RenderableType] = [Text(), heading(reason, width)]
    prefix = _shared(record)
    if prefix:
        rows.append(Text(f"  {visible(prefix)} …", style=DIM))
    if not record.shown:
        rows.append(Text("  No voice had a word here: say it yourself.", style=DIM))
    grid = Table.grid(padding=(0, 1))
    grid.add_column(width=2, justify="right")
    grid.add_column(no_wrap=True)
    grid.add_column(ratio=1, max_width=TEXT_WIDTH)
    wide = width >= NARROW
    if wide:
        grid.add_column(justify="right", no_wrap=True)
        grid.add_column(justify="right", no_wrap=True)
    for option in record.shown:
        grid.add_row(*_option(palette, option, prefix, wide=wide, ahead=ahead))
    rows.append(grid)
    if keys:
        rows.append(Text("  " + (KEYS_LINE if width > len(KEYS_LINE) + 2 else KEYS_SHORT), style=DIM))
    return Group(*rows)


def heading(text: str, width: int) -> RenderableType:
    """── text ─────, or where it is too long for one line just the text."""
    left = width - cell_len(text) - 4
    return Text(f"── {text} {'─' * left}" if left > 0 else f"── {text}", style=DIM)


def _shared(record: ForkRecord) -> str:
    """The words all options begin with, where it is worth saying them once."""
    prefixes = {option.prefix_text for option in record.shown}
    prefix = prefixes.pop() if len(prefixes) == 1 else ""
    same = bool(prefix.strip()) and all(
        option.text.startswith(prefix) and option.text != prefix for option in record.shown
    )
    return prefix.rstrip() if same else ""


def _option(
    palette: Palette, option: OptionRecord, prefix: str, *, wide: bool, ahead: bool
) -> list[RenderableType]:
    rest = option.text[len(prefix) :].lstrip() if prefix else option.text
    text = Text.assemble(("… ", DIM) if prefix else "", visible(rest))
    names = Text(visible(", ".join(option.voices)), style=DIM)
    chance = Text(f"{option.p:.2f}".removeprefix("0"), style=DIM)
    if not wide:
        text.append_text(Text.assemble("  ", names, " ", chance))
    if ahead and option.look_ahead:
        text.append(f"\n↳ {visible(option.look_ahead)}", DIM)
    cells: list[RenderableType] = [Text(str(option.key), style="bold"), palette.shapes(option.voices), text]
    return [*cells, names, chance] if wide else cells


def chosen(text: str) -> RenderableType:
    """What became of a fork, in one line."""
    return Text(f"  ↳ {text}", style=DIM)


def typed(editor: LineEditor) -> RenderableType:
    """The line being typed, with its cursor."""
    before, at, after = (
        editor.line[: editor.cursor],
        editor.line[editor.cursor : editor.cursor + 1] or " ",
        editor.line[editor.cursor + 1 :],
    )
    return Text.assemble(("› ", "bold"), visible(before), (visible(at), "reverse"), visible(after))


def note(text: str) -> RenderableType:
    """A line of ours, not of the dialogue's."""
    return Text(f"  {visible(text)}", style=f"{DIM} italic")


def help_lines() -> RenderableType:
    grid = Table.grid(padding=(0, 2))
    for key, what in HELP:
        grid.add_row(Text(f"  {key}", style="bold"), Text(what))
    grid.add_row(Text("  …", style="bold"), Text("anything else: your own words"))
    return grid


def count(ending: Ending) -> RenderableType:
    """The sitting in one line."""
    parts = [_number(ending.thoughts, "thought")]
    if ending.forks:
        parts.append(_number(ending.forks, "fork"))
    if ending.decisions:
        parts.append(f"asked {ending.asked} of {ending.decisions}")
    parts.append(f"{ending.seconds:.0f} s")
    return Text(" · ".join(parts), style=DIM)


def _number(n: int, thing: str) -> str:
    return f"{n} {thing}" if n == 1 else f"{n} {thing}s"


def threads(rows: list[ThreadSummary], width: int) -> RenderableType:
    """A list of threads, newest activity first; an open fork is a filled dot."""
    modes = max((cell_len(row.mode) for row in rows), default=0)
    beside = WHEN + modes + 16 if width >= WIDE else 0
    room = max(10, width - SHORT_ID - beside - 7)
    lines = []
    for row in rows:
        title = Text(visible(row.title).replace("\n", " "))
        title.truncate(room, overflow="ellipsis", pad=bool(beside))
        line = Text.assemble(
            ("● ", "bold") if row.open_fork else ("○ ", DIM), (short_id(row.id), DIM), "  ", title
        )
        if beside:
            when = row.updated_at.astimezone().strftime("%Y-%m-%d %H:%M")
            line.append(f"  {_number(row.n_thoughts, 'thought'):>12}")
            line.append(f"  {row.mode.ljust(modes)}  {when}", DIM)
        lines.append(line)
    return Group(*lines)


def short_id(thread_id: str) -> str:
    """Enough of an id to be typed: UUIDv7 begins with the time, so its first 13 characters tell threads apart
    that were begun in different milliseconds."""
    return thread_id[:SHORT_ID]
