"""docs/protocol.md, the golden messages and the code say the same, to the byte."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import get_args

import pytest

from tests.bus.tools import ROOT, Spawn, ask, hub_at, soon, until
from voices import wire

DOC = (ROOT / "docs" / "protocol.md").read_text()
GOLDEN = sorted((ROOT / "tests" / "golden" / "id1").glob("*.json"))
TYPES = {kind.model_fields["type"].default for kind in get_args(get_args(wire.Message)[0])}


def fences(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)\n```$", DOC, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_a_golden_message_is_read_and_written_to_the_same_bytes(path: Path) -> None:
    body = path.read_bytes().removesuffix(b"\n")
    message = wire.decode([b"ID1", body])
    assert message.type == path.stem
    assert wire.encode(message) == [b"ID1", body]


def test_every_message_has_a_golden_one() -> None:
    assert {path.stem for path in GOLDEN} == TYPES


def test_the_examples_of_the_specification_are_the_golden_messages() -> None:
    assert sorted(fences("json")) == sorted(path.read_text().strip() for path in GOLDEN)


def test_every_field_and_code_is_specified() -> None:
    for kind in get_args(get_args(wire.Message)[0]):
        for name in kind.model_fields:
            assert f"`{name}`" in DOC or f'"{name}"' in DOC, f"{kind.__name__}.{name}"
    for file in ("worker.py", "voice.py"):
        for code in re.findall(r'code="(\w+)"', (ROOT / "voices" / file).read_text()):
            assert f"`{code}`" in DOC, code


async def test_the_voice_of_the_specification_works(run_dir: Path, spawn: Spawn) -> None:
    [code] = fences("python")
    async with hub_at(run_dir) as hub:
        child: subprocess.Popen[str] = spawn("-c", code, env={"PYTHONPATH": "", "PYTHONWARNINGS": ""})
        await until(lambda: "Parrot" in hub.voices)
        final = await soon(ask(hub, "Parrot"))
        assert isinstance(final, wire.Proposal)
        assert final.text == "I keep postponing the call to my father."
        seeded = await soon(ask(hub, "Parrot", fork_seed=wire.ForkSeed(ids=(1,))))
        assert isinstance(seeded, wire.Declined)
        assert child.poll() is None
