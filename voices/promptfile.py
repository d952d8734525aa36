"""Reads one prompt file: Markdown under a front matter of checked keys.

Owns the file format (the `---` fences, YAML between them, the line an error is on). Does not know which
keys a mode or a voice has: the caller passes a model, and its fields are what is allowed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

FENCE = "---"
SIZE_LIMIT = 64 * 1024
"""Bytes. Far above any prompt a 2,048-token context could hold; below what would hurt to parse."""

Fields = TypeVar("Fields", bound=BaseModel)


class PromptFileError(Exception):
    """A prompt file that cannot be used: which file, which line, what is wrong and what is allowed."""

    retryable = False
    exit_code = 2

    def __init__(self, file: Path, line: int, message: str, hint: str = "") -> None:
        super().__init__(f"{file}:{line}: {message}" + (f" ({hint})" if hint else ""))
        self.file = file
        self.line = line
        self.message = message
        self.hint = hint


def read_prompt_file(path: Path, model: type[Fields]) -> tuple[Fields, str, dict[str, int]]:
    """The front matter of `path` as a `model`, the body below it, and the line each key stands on.

    Raises PromptFileError.
    """
    lines = _text(path).splitlines()
    allowed = "allowed keys: " + ", ".join(model.model_fields)
    if not lines or lines[0].strip() != FENCE:
        raise PromptFileError(path, 1, f"no front matter: the first line must be {FENCE}", allowed)
    closing = next((n for n, line in enumerate(lines[1:], start=1) if line.strip() == FENCE), None)
    if closing is None:
        raise PromptFileError(path, 1, f"the front matter is never closed with {FENCE}", allowed)
    values, at = _mapping(path, "\n".join(lines[1:closing]), allowed)
    for key in values:
        if key not in model.model_fields:
            raise PromptFileError(path, at[key], f"unknown key {key!r}", allowed)
    try:
        fields = model.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        key = str(first["loc"][0]) if first["loc"] else ""
        hint = f"{key}: {field.description}" if (field := model.model_fields.get(key)) else allowed
        raise PromptFileError(path, at.get(key, 1), f"{key}: {first['msg']}", hint) from error
    return fields, "\n".join(lines[closing + 1 :]).strip(), at


def _text(path: Path) -> str:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise PromptFileError(path, 1, f"cannot be read: {error.strerror or error}") from error
    if len(raw) > SIZE_LIMIT:
        raise PromptFileError(path, 1, f"{len(raw)} bytes are over the limit of {SIZE_LIMIT}")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise PromptFileError(path, line, "not UTF-8 text", "save the file as UTF-8") from error


def _mapping(path: Path, text: str, allowed: str) -> tuple[dict[str, Any], dict[str, int]]:
    """Keys with values, keys with line numbers in the file (the opening fence is line 1)."""
    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        if not isinstance(node, yaml.MappingNode):
            raise PromptFileError(path, 2, "the front matter must be lines of `key: value`", allowed)
        at = {str(key.value): key.start_mark.line + 2 for key, _ in node.value}
        return {str(key): value for key, value in loader.construct_document(node).items()}, at
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 2 if error.problem_mark else 2
        raise PromptFileError(path, line, f"not YAML: {error.problem}", allowed) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise PromptFileError(path, 2, f"not YAML: {str(error)[:200]}", allowed) from error
    finally:
        loader.dispose()
