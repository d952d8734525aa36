"""`inner voice run FILE`: a voice of a person's own joins the ensemble that is running.

Owns how a file becomes a voice: a subclass in a Python file, or a Markdown prompt file. Must not know the bus: the
voice itself does.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
import tempfile
import traceback
from pathlib import Path
from typing import NoReturn

from orchestrator.errors import InnerError, UsageError
from orchestrator.process import read_holder
from orchestrator.settings import Settings
from voices.promptfile import read_prompt_file
from voices.role import RoleFields, load_modes
from voices.voice import Voice

MODULE = "inner_own_voice"


class BadVoiceFile(UsageError):
    """A file that is no voice."""

    default_hint = "A .py file with a subclass of voices.Voice, or a Markdown prompt file with front matter."


class NothingRuns(InnerError):
    """There is no ensemble to join."""

    default_hint = "Start one in another terminal: inner run"


def run(settings: Settings, file: Path) -> NoReturn:
    """Serve until Ctrl-C, then exit. Raises BadVoiceFile, NothingRuns, PromptFileError."""
    if not file.is_file():
        raise BadVoiceFile(f"There is no file {file}.")
    if read_holder(settings.lock_path) is None:
        raise NothingRuns(f"Nothing is running in {settings.home}.")
    os.environ["INNER_HUB"], os.environ["INNER_ENGINE"] = settings.hub, settings.engine
    voice = prompt_voice(file, settings) if file.suffix == ".md" else python_voice(file)
    print(f"{voice.name} joins the dialogue in {settings.home}   (Ctrl-C ends it)", flush=True)
    voice.main()
    raise AssertionError("a voice's main() does not return")


def python_voice(file: Path) -> Voice:
    """The voice in a Python file. Raises BadVoiceFile."""
    spec = importlib.util.spec_from_file_location(MODULE, file)
    if spec is None or spec.loader is None:
        raise BadVoiceFile(f"{file} is neither a .py nor a .md file.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[MODULE] = module
    sys.path.insert(0, str(file.resolve().parent))
    try:
        spec.loader.exec_module(module)  # a file that ends in MyVoice().main() runs here, and exits here
    except Exception as error:
        raise BadVoiceFile(f"{_where(file, error)}: {type(error).__name__}: {error}.") from error
    kinds = [
        kind
        for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, Voice) and kind.__module__ == MODULE
    ]
    if len(kinds) != 1:
        found = ", ".join(kind.__name__ for kind in kinds) or "none"
        raise BadVoiceFile(f"{file} must hold one subclass of voices.Voice; it holds {found}.")
    voice = kinds[0]()
    if not voice.name:
        raise BadVoiceFile(f"{kinds[0].__name__} in {file} has no name.", 'Give it one: name = "Skeptic"')
    return voice


def _where(file: Path, error: Exception) -> str:
    if isinstance(error, SyntaxError) and error.lineno is not None:
        return f"{file}:{error.lineno}"
    lines = [
        frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(file)
    ]
    return f"{file}:{lines[-1]}" if lines else str(file)


def prompt_voice(file: Path, settings: Settings) -> Voice:
    """The voice of a prompt file: in the mode its folder is named after, else in every mode.

    Raises PromptFileError.
    """
    from voices.worker import RoleVoice

    name = read_prompt_file(file, RoleFields)[0].name
    known = load_modes([settings.prompts_dir])
    folders = [file.resolve().parent.name] if file.resolve().parent.name in known else list(known)
    with tempfile.TemporaryDirectory(prefix="inner-voice-") as place:
        for folder in folders:
            target = Path(place) / folder / f"{file.stem}.md"
            target.parent.mkdir()
            shutil.copyfile(file, target)
        modes = load_modes([settings.prompts_dir, Path(place)])
    # Its own modes only: the file joins where it was put, not where a namesake lives already.
    return RoleVoice(name, {folder: modes[folder] for folder in folders})
