"""Who the voices are: prompt files read as modes and roles, and the prompt a role speaks from.

Owns the meaning of `prompts/MODE/*.md` and the wording of a prompt (`build_prompt`). Knows nothing of
sockets, engines or the store. Text of thoughts is data here: nothing in it can become a role.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from importlib import resources
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, Field

from voices.engine.protocol import Part, Prompt, PromptMessage
from voices.promptfile import PromptFileError, read_prompt_file
from voices.wire import Frozen, Turn

__all__ = [
    "CHOIR",
    "ModeSpec",
    "PromptFileError",
    "RoleSpec",
    "UnknownVoice",
    "build_prompt",
    "load_modes",
    "preamble",
    "transcript",
]

CHOIR = ("Echo", "Pulse", "Doubt", "Shift")
"""The four voices of the house, in the order they are shown; a user's own follow alphabetically."""

MODE_FILE = "mode.md"
NAME = r"^[^\W\d_][\w' -]{0,30}$"
"""A name stands in the tag `[Name]`: a letter, then letters, digits, apostrophes, blanks and hyphens."""

Unit = Literal["sentence", "line", "idea"]
Shape = Literal["square", "triangle", "circle", "cross", "diamond", "star", "hexagon"]
Colour = str


class UnknownVoice(KeyError):
    """A mode was asked for a voice it does not have. `hint` lists those it has."""

    retryable = False
    exit_code = 2

    def __init__(self, name: str, mode: str, known: Iterable[str]) -> None:
        super().__init__(name)
        self.hint = f"voices of {mode}: {', '.join(known)}"
        self.message = f"no voice is called {name!r} in {mode}"

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})"


class Example(Frozen):
    """A short dialogue shown before the thread: its opening and its lines, `[Name] text` each."""

    opening: str
    lines: str


class RoleSpec(Frozen):
    """A voice in one mode. `colour` is (on light, on dark); `line` is a short text after the tag; `begin` are
    first words a small model may be given, since it keeps a role better once it has begun in it."""

    name: str
    mode: str
    colour: tuple[str, str]
    shape: Shape
    temperature: float
    max_tokens: int
    lead: bool
    line: str
    repeat_penalty: float
    begin: tuple[str, ...]
    character: str
    path: str


class ModeSpec(Frozen):
    """A use: its unit, its attention budget (asks per step, asks a minute), and its voices in order."""

    name: str
    title: str
    unit: Unit
    budget: float
    per_minute: float
    cooldown: int
    rest_after: int
    lead: tuple[str, ...]
    human: str
    placeholder: str
    stop: tuple[str, ...]
    final: str
    preamble: str
    examples: tuple[Example, ...]
    voices: tuple[RoleSpec, ...]

    def voice(self, name: str) -> RoleSpec:
        """The voice of that name. Raises UnknownVoice, a KeyError."""
        for role in self.voices:
            if role.name == name:
                return role
        raise UnknownVoice(name, self.name, (role.name for role in self.voices))


class ModeFields(BaseModel):
    """The front matter of mode.md."""

    title: str = Field(min_length=1, description="what the mode is called on the page")
    unit: Unit = Field(description="sentence, line or idea")
    budget: float = Field(0.1, ge=0, le=1, description="asks per step, 0 to 1")
    per_minute: float = Field(2, ge=0, le=60, description="asks a minute at most, 0 to 60")
    cooldown: int = Field(0, ge=0, le=100, description="steps after a question without another, 0 to 100")
    rest_after: int = Field(12, ge=1, le=1000, description="thoughts in a row without a person, 1 to 1000")
    lead: tuple[str, ...] = Field((), description="list of voice names, in the order they take the lead")
    human: str = Field("Me", pattern=NAME, description="the name of the person in the thread")
    placeholder: str = Field("What is on your mind?", description="text in the empty opening box")
    stop: tuple[str, ...] = Field(("\n", "["), min_length=1, description="list of texts that end a thought")
    final: str = Field("", description="words of a last thought: the thread rests after it")


class RoleFields(BaseModel):
    """The front matter of NAME.md."""

    name: str = Field(pattern=NAME, description="letters, digits, blanks, ' and -, at most 31 characters")
    colour: tuple[Colour, Colour] = Field(
        ("#5f5b57", "#b8b2aa"), description="[on light, on dark], each like '#2a6fdb'"
    )
    shape: Shape = Field("diamond", description="square, triangle, circle, cross, diamond, star or hexagon")
    temperature: float = Field(0.8, ge=0, le=2, description="0 to 2")
    max_tokens: int = Field(48, ge=1, le=512, description="tokens of one thought, 1 to 512")
    lead: bool = Field(False, description="true or false: may this voice lead?")
    line: str = Field(
        "", max_length=200, pattern=r"^[^\n]*$", description="a short text after the tag, one line"
    )
    repeat_penalty: float = Field(1.0, ge=1, le=2, description="1 (none) to 2: weakens words said before")
    begin: tuple[str, ...] = Field((), max_length=50, description="list of first words for small models")


def load_modes(extra: Sequence[Path] = ()) -> dict[str, ModeSpec]:
    """Every mode by name, from the package and then from each folder of `extra` that exists.

    A later folder wins: its `MODE/mode.md` replaces the mode, a voice of the same name replaces that
    voice, another name joins. Raises PromptFileError.
    """
    packaged = Path(str(resources.files("prompts")))
    folders = [folder for folder in (packaged, *extra) if folder.is_dir()]
    found: dict[str, _Found] = {}
    for folder in folders:
        for path in sorted(path for path in folder.iterdir() if path.is_dir() and _is_name(path.name)):
            files = sorted(file for file in path.glob("*.md") if _is_name(file.name))
            if files:
                found.setdefault(path.name, _Found(path.name)).read(files)
    return {name: found[name].mode() for name in sorted(found)}


def _is_name(name: str) -> bool:
    return not name.startswith((".", "_"))


class _Found:
    """What the folders read so far say about one mode."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.fields: ModeFields | None = None
        self.preamble = ""
        self.at = (Path(name), 1)
        self.roles: dict[str, RoleSpec] = {}

    def read(self, files: Sequence[Path]) -> None:
        here: dict[str, Path] = {}
        for path in files:
            if path.name == MODE_FILE:
                self.fields, self.preamble, lines = read_prompt_file(path, ModeFields)
                self.at = (path, lines.get("lead", 1))
            else:
                role = _role(self.name, path)
                key = role.name.casefold()
                if key in here:
                    raise PromptFileError(
                        path,
                        1,
                        f"a second voice called {role.name!r} in this folder",
                        f"see {here[key].name}",
                    )
                here[key] = path
                self.roles[key] = role
        if self.fields is None:
            raise PromptFileError(
                files[0].parent / MODE_FILE,
                1,
                f"the mode {self.name!r} has voices and no {MODE_FILE}",
                f"write {MODE_FILE}, or move the voices to the folder of an existing mode",
            )

    def mode(self) -> ModeSpec:
        assert self.fields is not None
        roles = tuple(sorted(self.roles.values(), key=_order))
        names = [role.name for role in roles]
        for name in self.fields.lead:
            if name not in names:
                raise PromptFileError(
                    *self.at, f"lead: no voice is called {name!r}", f"voices: {', '.join(names)}"
                )
        own = tuple(role.name for role in roles if role.lead and role.name not in self.fields.lead)
        if not (lead := self.fields.lead + own):
            raise PromptFileError(*self.at, "nobody may lead", "list a voice under lead")
        values = {**self.fields.model_dump(), "lead": lead}
        preamble, examples = _examples(self.preamble)
        return ModeSpec(name=self.name, preamble=preamble, examples=examples, voices=roles, **values)


def _role(mode: str, path: Path) -> RoleSpec:
    fields, body, lines = read_prompt_file(path, RoleFields)
    for colour in fields.colour:
        if not re.fullmatch(r"#[0-9a-fA-F]{6}", colour):
            raise PromptFileError(path, lines["colour"], f"colour: {colour!r} is no colour", "like '#2a6fdb'")
    if not body:
        raise PromptFileError(
            path, 1, "the body is empty", "say below the front matter who the voice is, in a sentence or two"
        )
    return RoleSpec(mode=mode, character=" ".join(body.split()), path=str(path), **fields.model_dump())


def _examples(body: str) -> tuple[str, tuple[Example, ...]]:
    """The preamble, and the examples below it: each an opening (`> text`) and the lines that follow it."""
    preamble, *blocks = re.split(r"^>[ \t]*", body, flags=re.MULTILINE)
    parted = (block.strip().partition("\n") for block in blocks)
    return preamble.strip(), tuple(
        Example(
            opening=opening.strip(),
            lines="\n".join(line.strip() for line in rest.splitlines() if line.strip()),
        )
        for opening, _, rest in parted
    )


def _order(role: RoleSpec) -> tuple[int, str]:
    return (CHOIR.index(role.name) if role.name in CHOIR else len(CHOIR), role.name.casefold())


def build_prompt(mode: ModeSpec, voice_name: str, context: Sequence[Turn], model: str) -> Prompt:
    """What `voice_name` goes on from: preamble, examples and opening, shared by all voices, thread and tag.

    `model` is the digest the token ids of the turns belong to. Token ids of a turn begin with the blank
    after its tag. Raises UnknownVoice; ValueError for an empty context.
    """
    role = mode.voice(voice_name)
    if not context:
        raise ValueError("a context has at least its opening")
    choir = "\n".join(f"[{each.name}] {each.character}" for each in mode.voices)
    system = Part(text=mode.preamble.replace("{voices}", choir))
    opening = Part(text=_tagless(context[0].text.strip()))
    said: list[Part] = []
    for turn in context[1:]:
        text = _tagless(" ".join(turn.text.split()))
        ids = turn.ids if text == turn.text.strip() else ()  # a text that had to change is not its ids
        author = mode.human if turn.human else _author(turn.author)
        said += [Part(text=f"[{author}]"), Part(text=f" {text}", ids=ids), Part(text="\n")]
    said.append(Part(text=f"[{role.name}]"))
    if role.line:
        said.append(Part(text=f" {role.line}"))
    shown: list[PromptMessage] = []
    for example in mode.examples:
        shown.append(PromptMessage(role="user", parts=(Part(text=example.opening),)))
        shown.append(PromptMessage(role="assistant", parts=(Part(text=example.lines),)))
    return Prompt(
        messages=(
            PromptMessage(role="system", parts=(system,)),
            *shown,
            PromptMessage(role="user", parts=(opening,)),
            PromptMessage(role="assistant", parts=tuple(said)),
        ),
        model=model,
    )


def preamble(mode: ModeSpec) -> str:
    """All that a prompt of this mode begins with, as plain text: to keep, or to count its tokens."""
    prompt = build_prompt(mode, mode.voices[0].name, (Turn(author=mode.human, text="", human=True),), "")
    return "\n\n".join("".join(part.text for part in message.parts) for message in prompt.messages)


def transcript(context: Sequence[Turn]) -> str:
    """The thread as plain text, one line a thought: what a Python voice puts before its own tag."""
    lines = (f"[{_author(turn.author)}] {_tagless(' '.join(turn.text.split()))}\n" for turn in context)
    return "".join(lines)


def _author(name: str) -> str:
    return " ".join(re.sub(r"[\[\]]", " ", name).split())


def _tagless(text: str) -> str:
    """`text` with round brackets where it would read as the tag of a voice, real or not."""
    return re.sub(r"\[\s*([^\W\d_][\w' -]{0,30}?)\s*\]", r"(\1)", text)
