"""A thread as a file: Markdown for people (Obsidian callouts), JSONL for programs (lossless).

Owns both formats and the careful writing of a file. Must not know the command line. Text of thoughts and titles is
data: in Markdown it is escaped so that it reads as it was said, whatever it contains.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import tempfile
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from orchestrator.errors import DiskFull, NotWritable, UnknownFormat, UsageError
from orchestrator.store import ForkRecord, OptionRecord, Store, ThoughtRecord, ThreadRecord
from orchestrator.visible import visible

JSONL_VERSION = 1
SLUG_LIMIT = 60

_INLINE = re.compile(r"([\\`*_{}\[\]<>#|~$^]|!(?=\[)|=(?==)|%(?=%)|&(?=[#A-Za-z]))")
_LINE_START = re.compile(r"^(\s*)([-+=]|\d+(?=[.)]))")


class FileThere(UsageError):
    """The file to write exists already."""

    default_hint = "Give another name with --out, or write over it with --force."


def escape(text: str) -> str:
    """Text as Markdown that renders as this very text: no heading, link, image, tag, formula or HTML in it."""
    return "\n".join(_escape_line(line) for line in visible(text).split("\n"))


def _escape_line(line: str) -> str:
    escaped = _LINE_START.sub(_escape_start, _INLINE.sub(r"\\\1", line))
    bare = escaped.lstrip(" \t")
    # Four leading blanks would be code.
    return "\u00a0" * (len(escaped) - len(bare)) + bare


def _escape_start(match: re.Match[str]) -> str:
    blank, mark = match[1], match[2]
    return f"{blank}\\{mark}" if not mark.isdigit() else f"{blank}{mark}\\"


def one_line(text: str) -> str:
    """Escaped, on one line."""
    return escape(" ".join(text.split()))


def slug(title: str) -> str:
    """A file name out of a title: letters, digits and hyphens, never empty, never a path."""
    plain = unicodedata.normalize("NFKC", title).lower()
    words = re.sub(r"[^\w]+", "-", plain, flags=re.UNICODE).strip("-_")
    return words[:SLUG_LIMIT].strip("-_") or "thread"


# ---- Markdown -------------------------------------------------------------------------------------------------


def export_markdown(store: Store, thread_id: str) -> str:
    """The path from the opening to the tip. What was not chosen is folded below the thought that was."""
    thread = store.thread(thread_id)
    forks = store.forks(thread_id)
    path = store.path(thread_id)
    parts = [_front_matter(thread), f"# {one_line(thread.title)}"]
    for thought in path:
        parts += [_callout(thought), *(_fork(fork) for fork in _ways_to(thought, forks))]
    parts += [_fork(fork) for fork in forks if fork.thought_id == path[-1].id and fork.choice is None]
    return "\n\n".join(parts) + "\n"


def _front_matter(thread: ThreadRecord) -> str:
    fields = {
        "title": thread.title,
        "mode": thread.mode,
        "thread": thread.id,
        "created": thread.created_at.isoformat(timespec="seconds"),
        "updated": thread.updated_at.isoformat(timespec="seconds"),
    }
    # A JSON string is a YAML one.
    lines = [f"{key}: {json.dumps(visible(value), ensure_ascii=False)}" for key, value in fields.items()]
    return "\n".join(["---", *lines, "---"])


def _ways_to(thought: ThoughtRecord, forks: Iterable[ForkRecord]) -> list[ForkRecord]:
    """The forks a person was asked at that led to this thought: the last attempt was chosen from, those before
    it refused."""
    found = [fork for fork in forks if fork.choice is not None and fork.choice.id == thought.choice_id]
    if not found:
        return []
    last = found[0]
    return [
        fork
        for fork in forks
        if fork.asked
        and fork.thought_id == last.thought_id
        and fork.attempt <= last.attempt
        and fork.choice is not None
        and (fork.id == last.id or fork.choice.kind == "none")
    ]


def _callout(thought: ThoughtRecord) -> str:
    kind = "me" if thought.human else slug(thought.author)
    edited = " (edited)" if thought.edited else ""
    return _quoted(f"[!{kind}] {one_line(thought.author)}{edited}", escape(thought.text).split("\n"))


def _fork(fork: ForkRecord) -> str:
    choice = fork.choice
    taken = choice.option_id if choice is not None else None
    left = [option for option in fork.shown if option.id != taken]
    if choice is None:
        state, fold = "still open", "+"
    else:
        state, fold = ("refused" if choice.kind == "none" else "not taken"), "-"
    title = f"[!question]{fold} {one_line(fork.reason) or 'the way forked here'} · {state}"
    return _quoted(title, [_option(option) for option in left] or ["nothing else was proposed"])


def _option(option: OptionRecord) -> str:
    return (
        f"- **{option.key}** {one_line(option.text)} *{one_line(', '.join(option.voices))}*, {option.p:.2f}"
    )


def _quoted(title: str, lines: list[str]) -> str:
    return "\n".join(f"> {line}".rstrip() for line in [title, *lines])


# ---- JSONL ----------------------------------------------------------------------------------------------------


def export_jsonl(store: Store, thread_id: str) -> str:
    """Every fact of the thread, one JSON object a line, `record` first: export, thread, thought, decision, fork,
    option, choice. Whole records, in the order they were made; hidden states are base64."""
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in _lines(store, thread_id))


def _lines(store: Store, thread_id: str) -> Iterator[dict[str, Any]]:
    yield {"record": "export", "format": "inner-dialogue", "version": JSONL_VERSION}
    yield {"record": "thread"} | store.thread(thread_id).model_dump(mode="json")
    for thought in store.tree(thread_id):
        yield {"record": "thought"} | thought.model_dump(mode="json")
    for decision in store.decisions(thread_id):
        yield {"record": "decision"} | decision.model_dump(mode="json")
    for fork in store.forks(thread_id):
        yield {"record": "fork"} | fork.model_dump(mode="json", exclude={"options", "choice"})
        for option in fork.options:
            yield {"record": "option"} | option_fields(option)
        if fork.choice is not None:
            yield {"record": "choice"} | fork.choice.model_dump(mode="json")


def option_fields(option: OptionRecord) -> dict[str, Any]:
    """An option as JSON; its hidden state, which is bytes, in base64."""
    hidden = None if option.hidden is None else base64.b64encode(option.hidden).decode()
    return option.model_dump(mode="json", exclude={"hidden"}) | {"hidden": hidden}


# ---- files ----------------------------------------------------------------------------------------------------

FORMATS: dict[str, Callable[[Store, str], str]] = {"md": export_markdown, "jsonl": export_jsonl}


def exporter(name: str) -> Callable[[Store, str], str]:
    """The format of that name. Raises UnknownFormat."""
    if name not in FORMATS:
        raise UnknownFormat(name, tuple(FORMATS))
    return FORMATS[name]


def target(out: Path, title: str, format_name: str) -> Path:
    """Where to write: the file named, or in a directory one named after the thread."""
    return out / f"{slug(title)}.{format_name}" if out.is_dir() else out


def write_file(path: Path, text: str, *, force: bool = False) -> None:
    """All of it or nothing, whatever happens meanwhile: a temporary file beside it, fsync, then its name.

    Raises FileThere unless `force`, NotWritable, DiskFull.
    """
    if path.exists() and not force:
        raise FileThere(f"There is already a file {path}.")
    try:
        _write(path, text, force=force)
    except FileExistsError as error:
        raise FileThere(f"There is already a file {path}.") from error
    except OSError as error:
        kind = DiskFull if error.errno == 28 else NotWritable
        raise kind(f"Cannot write {path}: {error.strerror}.", "Give another place with --out.") from error


def _write(path: Path, text: str, *, force: bool) -> None:
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if force:
            os.replace(name, path)
        else:
            os.link(name, path)  # fails where a file came to be there meanwhile
        directory = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)
