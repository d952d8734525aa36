"""A sitting on a terminal: what was said scrolls by, what moves stays at the bottom.

Owns the screen: printed lines above, and below them one live region with the words being spoken or the open fork,
and the line being typed. Without a terminal everything is printed once, line by line. Must not decide anything.
"""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from orchestrator import feed, paint
from orchestrator.errors import InnerError
from orchestrator.follow import Chosen, Forked, Happening, Spoken
from orchestrator.jsonlines import keyed
from orchestrator.keyboard import LineEditor
from orchestrator.process import Child
from orchestrator.session import Asking, Ending, Resting, Situation, Thinking
from orchestrator.store import GATE, ThoughtRecord, ThreadRecord
from orchestrator.text import one_line
from voices.role import ModeSpec

RECENT = 6
"""Thoughts shown again when a thread is resumed."""
QUOTE = 50
"""Characters of a thought that say which one is meant."""
FELL_SILENT = {"silent": "fell silent", "gone": "fell silent", "back": "is back"}
TALL = 24
"""Lines of a terminal under which a fork is shown without its look-aheads."""


class TerminalView:
    """Shows a sitting to a person. `answering` False: somebody else chooses (a page, or nobody)."""

    def __init__(self, mode: ModeSpec, console: Console | None = None, *, answering: bool = True) -> None:
        self.console = console or Console(highlight=False)
        self._palette = paint.Palette(mode, light=paint.on_light())
        self._answering = answering
        self._live: Live | None = None
        self._situation: Situation = Thinking()
        self._editor: LineEditor | None = None
        self._voice = self._words = ""
        self._paused = ""
        self._thread_id = ""
        self._texts: dict[str, str] = {}
        """What was said, by id: to name the place an undo goes back to."""

    # ---- beginning and end ----

    def begin(self, thread: ThreadRecord, path: Sequence[ThoughtRecord], model: str, url: str | None) -> None:
        """The head of the page, and what was said before."""
        self._thread_id = thread.id
        self._texts = {thought.id: thought.text for thought in path}
        head = f"{thread.mode} · {model} · {paint.short_id(thread.id)}"
        self._print(paint.heading(head, self.console.width))
        if len(path) > RECENT + 1:
            self._print(self._thought(path[0]))
            self._print(paint.note(f"… {len(path) - RECENT - 1} thoughts …"))
            path = path[-RECENT:]
        for thought in path:
            self._print(self._thought(thought))
        if url is not None:
            self.say(f"choose on the page: {url}")
        if self.console.is_terminal:
            self._live = Live(
                console=self.console, auto_refresh=False, transient=True, redirect_stderr=False, screen=False
            )
            self._live.start()
            self._draw()

    def close(self) -> None:
        """Take the live region away."""
        if self._live is not None:
            self._live.update(Text(), refresh=True)
            self._live.stop()
            self._live = None

    def end(self, ending: Ending) -> None:
        """The count, and how to go on."""
        self.close()
        self._print(Text())
        self._print(paint.count(ending))
        waits = " (its fork stays open)" if isinstance(self._situation, Asking) else ""
        self._print(
            Text(f"resume with: inner resume {paint.short_id(ending.thread.id)}{waits}", style=paint.DIM)
        )

    def failed(self, error: InnerError) -> None:
        """Nothing here: the command line says it, on stderr."""
        self.close()

    # ---- what happens ----

    def happened(self, happening: Happening) -> None:
        match happening:
            case Spoken(thought):
                self._voice = self._words = ""
                self._texts[thought.id] = thought.text
                self._print(self._thought(thought))
            case Forked(fork) if fork.reopens is not None:
                after = one_line(self._texts.get(fork.thought_id, ""), QUOTE)
                self._print(paint.chosen(f"back to what followed “{after}”"))
            case Chosen():
                self._print(paint.chosen(self._answered(happening)))
        self._draw()

    def heard(self, event: feed.Event | feed.Gap) -> None:
        match event:
            case feed.Words(thread=thread, phase="lead") if thread == self._thread_id:
                self._voice, self._words = event.voice, event.text
            case feed.VoiceEvent() if event.state in FELL_SILENT:
                self.say(f"{event.voice} {FELL_SILENT[event.state]}{_because(event.detail)}")
            case feed.Note(thread=thread) if thread in (self._thread_id, ""):
                self.say(event.text)
            case feed.Status():
                self._pause(event)
        self._draw()

    def process(self, child: Child) -> None:
        """A process died, or will not come back."""
        if child.state == "dead" and not child.part.essential:
            self.say(f"{child.name} {child.detail} too often and stays silent. Its log: {child.log}")
        elif child.state == "resting" and child.part.essential:
            self.say(f"{child.name} {child.detail}")

    def situation(self, situation: Situation) -> None:
        self._situation = situation
        if not isinstance(situation, Thinking):
            self._voice = self._words = ""
        if self._live is None:
            if isinstance(situation, Asking):
                self._print(self._fork(situation))
            elif isinstance(situation, Resting) and self._answering:
                self.say("resting: your own words, Enter to let it go on, s to stop")
        self._draw()

    def typed(self, editor: LineEditor) -> None:
        self._editor = editor
        self._draw()

    def say(self, text: str) -> None:
        self._print(paint.note(text))

    def help(self) -> None:
        self._print(paint.help_lines())

    # ---- drawing ----

    def _print(self, renderable: RenderableType) -> None:
        self.console.print(renderable)

    def _draw(self) -> None:
        if self._live is not None:
            self._live.update(Group(*self._bottom()), refresh=True)

    def _bottom(self) -> list[RenderableType]:
        rows: list[RenderableType] = []
        match self._situation:
            case Asking():
                rows.append(self._fork(self._situation))
            case Resting() if self._answering:
                rows += [Text(), Text("  Enter go on   z undo   s stop   or your own words", style=paint.DIM)]
            case Thinking() if self._words:
                rows.append(paint.speaking(self._palette, self._voice, self._words, self.console.width))
            case Thinking():
                rows.append(Text("  …", style=paint.DIM))
        if self._answering:
            rows.append(paint.typed(self._editor or LineEditor()))
        return rows

    def _fork(self, asking: Asking) -> RenderableType:
        ahead = self.console.height >= TALL
        return paint.fork(self._palette, asking.fork, self.console.width, ahead=ahead)

    def _thought(self, thought: ThoughtRecord) -> RenderableType:
        return paint.thought(self._palette, thought, self.console.width)

    def _answered(self, happening: Chosen) -> str:
        choice, options = happening.choice, keyed(happening.fork)
        who = "" if choice.arbiter in ("me", GATE) else f"{choice.arbiter}: "
        key = next((key for key, option in options if option.id == choice.option_id), None)
        of = f"{key} of {len(options)}{', unasked' if choice.via == 'auto' else ''}"
        words = {"option": of, "edit": f"{of}, edited", "own": "own words", "none": "none of these"}
        return who + words[choice.kind]

    def _pause(self, status: feed.Status) -> None:
        state = status.threads.get(self._thread_id)
        paused = state.detail or "paused" if state is not None and state.state == "paused" else ""
        if paused and paused != self._paused:
            self.say(paused)
        self._paused = paused


def _because(detail: str) -> str:
    return f": {detail}" if detail else ""
