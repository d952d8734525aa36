"""Voices as processes: real subprocesses, the real hub, a scripted engine."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from orchestrator import presence
from orchestrator.bus import Hub
from tests.bus.tools import Events, Spawn, ask, hub_at, soon, until
from tests.fakes import Hang, ScriptedEngine, ids_of
from voices import wire

VOICE = ("-m", "voices.worker")
SCRIPT = {"Echo": {"You wait for a better day.": 0.7, "You fear his answer.": 0.3}, "*": "Say more."}

SKEPTIC = """
from voices import Voice

class Skeptic(Voice):
    name = "Skeptic"

    def think(self, ask):
        yield from self.engine.stream(ask.prompt + "[Skeptic] ", seed=ask.seed)

Skeptic().main()
"""


async def ready(hub: Hub, *names: str) -> None:
    await until(lambda: all(name in hub.voices and hub.voices[name].state == "ready" for name in names))


def proposal(final: object) -> wire.Proposal:
    assert isinstance(final, wire.Proposal), final
    return final


def declined(final: object) -> wire.Declined:
    assert isinstance(final, wire.Declined), final
    return final


def ended(child: subprocess.Popen[str]) -> tuple[int, str]:
    out, _ = child.communicate(timeout=20)
    return child.returncode, out


class TestARole:
    async def test_it_proposes_with_statistics_and_streams_its_words(
        self, run_dir: Path, engine_at: str, spawn: Spawn
    ) -> None:
        heard: list[str] = []
        with ScriptedEngine(engine_at, SCRIPT, pause=0.03) as engine:
            async with hub_at(run_dir) as hub:
                child = spawn(*VOICE, "Echo")
                await ready(hub, "Echo")
                assert hub.voices["Echo"].modes == ("brainstorm", "journal", "steps")
                assert hub.voices["Echo"].pid == child.pid
                answer = ask(hub, greedy=True, on_partial=lambda partial: heard.append(partial.text))
                final = proposal(await soon(answer))
        assert (final.text, final.finish) == ("You wait for a better day.", "sentence")
        assert final.stats is not None
        assert tuple(token.id for token in final.stats.tokens) == ids_of(" You wait for a better day.")
        assert heard
        assert all((" " + final.text).startswith(text) for text in heard)
        request = engine.asked[0]
        assert request.sentence
        assert request.prompt.messages[-1].parts[-1].text == "[Echo]"

    async def test_a_fork_seed_starts_its_words(self, run_dir: Path, engine_at: str, spawn: Spawn) -> None:
        with ScriptedEngine(engine_at, SCRIPT):
            async with hub_at(run_dir) as hub:
                spawn(*VOICE, "Echo")
                await ready(hub, "Echo")
                seed = wire.ForkSeed(ids=ids_of(" You fear"))
                forced = proposal(await soon(ask(hub, fork_seed=seed, greedy=True)))
                bans = wire.ForkSeed(ids=ids_of(" You"), bans=ids_of(" wait"))
                banned = proposal(await soon(ask(hub, fork_seed=bans, greedy=True)))
        assert forced.text == banned.text == "You fear his answer."
        assert forced.stats is not None
        assert (forced.stats.n_forced, len(forced.stats.tokens)) == (2, 5)

    async def test_many_asks_are_thought_at_once_and_words_are_coalesced(
        self, run_dir: Path, engine_at: str, spawn: Spawn
    ) -> None:
        heard: list[str] = []
        with ScriptedEngine(engine_at, {"*": "a " * 199 + "b"}) as engine:
            async with hub_at(run_dir) as hub:
                spawn(*VOICE, "Doubt")
                await ready(hub, "Doubt")
                answers = [
                    ask(hub, "Doubt", max_tokens=200, on_partial=lambda partial: heard.append(partial.text))
                    for _ in range(8)
                ]
                finals = [proposal(await soon(answer)) for answer in answers]
        assert {final.text.count("a") for final in finals} == {199}
        assert len(heard) < len(engine.order)

    async def test_a_mode_without_a_prompt_is_declined(
        self, run_dir: Path, engine_at: str, spawn: Spawn
    ) -> None:
        async with hub_at(run_dir) as hub:
            spawn(*VOICE, "Echo")
            await ready(hub, "Echo")
            assert declined(await soon(ask(hub, mode="opera"))).code == "unknown_mode"

    async def test_a_markdown_file_in_another_folder_is_a_voice(
        self, run_dir: Path, engine_at: str, spawn: Spawn
    ) -> None:
        own = run_dir / "prompts" / "journal"
        own.mkdir(parents=True)
        text = "---\nname: Gran'ma Ada\ntemperature: 0\n---\nknows what was always so.\n"
        (own / "ada.md").write_text(text)
        with ScriptedEngine(engine_at, {"Gran'ma Ada": "It was always so."}) as engine:
            async with hub_at(run_dir) as hub:
                spawn(*VOICE, "Gran'ma Ada", "--prompts", own.parent, run_dir / "nowhere")
                await ready(hub, "Gran'ma Ada")
                final = proposal(await soon(ask(hub, "Gran'ma Ada")))
        assert final.text == "It was always so."
        assert "[Gran'ma Ada] knows what was always so." in engine.asked[0].prompt.messages[0].parts[0].text

    async def test_a_python_file_of_a_dozen_lines_is_a_voice(
        self, run_dir: Path, engine_at: str, spawn: Spawn
    ) -> None:
        (run_dir / "skeptic.py").write_text(SKEPTIC)
        with ScriptedEngine(engine_at, {"Skeptic": "Who says so?"}):
            async with hub_at(run_dir) as hub:
                spawn(run_dir / "skeptic.py")
                await ready(hub, "Skeptic")
                final = proposal(await soon(ask(hub, "Skeptic")))
        assert final.text == "Who says so?"
        assert final.stats is not None
        assert len(SKEPTIC.strip().splitlines()) <= 12

    async def test_it_is_light_and_holds_no_model(self, run_dir: Path, engine_at: str, spawn: Spawn) -> None:
        with ScriptedEngine(engine_at, SCRIPT):
            async with hub_at(run_dir) as hub:
                child = spawn(*VOICE, "Echo")
                await ready(hub, "Echo")
                for _ in range(20):
                    await asyncio.gather(*(soon(ask(hub)) for _ in range(8)))
                process = psutil.Process(child.pid)
                maps = {Path(each.path).name for each in process.memory_maps()}
                assert process.memory_info().rss <= 60e6
        assert not [name for name in maps if "llama" in name or "numpy" in name or "ggml" in name]


class TestFaults:
    async def test_killed_in_the_middle_of_a_thought_it_is_gone_and_can_come_back(
        self, run_dir: Path, engine_at: str, spawn: Spawn
    ) -> None:
        events, spoken = Events(), asyncio.Event()
        with ScriptedEngine(engine_at, {"Echo": Hang("You wait for a better day.", after=3)}):
            async with hub_at(run_dir, on_voice=events) as hub:
                child = spawn(*VOICE, "Echo")
                await ready(hub, "Echo")
                answer = ask(hub, on_partial=lambda partial: spoken.set())
                await soon(spoken.wait())
                child.kill()
                final = declined(await soon(answer))
                assert (final.code, final.retryable) == ("gone", True)
                assert events[-1] == ("Echo", "gone", "the process ended")
                spawn(*VOICE, "Echo")
                await ready(hub, "Echo")
                assert events.course("Echo") == ["ready", "speaking", "gone", "ready"]

    async def test_a_second_process_of_the_name_is_refused_and_ends(
        self, run_dir: Path, engine_at: str, spawn: Spawn
    ) -> None:
        with ScriptedEngine(engine_at, SCRIPT):
            async with hub_at(run_dir) as hub:
                spawn(*VOICE, "Echo")
                await ready(hub, "Echo")
                second = spawn(*VOICE, "Echo")
                code, out = await asyncio.to_thread(ended, second)
                assert (code, "name_taken" in out) == (3, True)
                assert proposal(await soon(ask(hub))).text

    async def test_a_lost_engine_declines_and_the_next_engine_serves(
        self, run_dir: Path, engine_at: str, spawn: Spawn
    ) -> None:
        spoken = asyncio.Event()
        async with hub_at(run_dir) as hub:
            spawn(*VOICE, "Echo")
            await ready(hub, "Echo")
            with ScriptedEngine(engine_at, {"Echo": Hang(after=2)}):
                answer = ask(hub, on_partial=lambda partial: spoken.set())
                await soon(spoken.wait())
            final = declined(await soon(answer))
            assert (final.code, final.retryable) == ("engine_lost", True)
            with ScriptedEngine(engine_at, SCRIPT):
                assert proposal(await soon(ask(hub))).text

    async def test_cancel_reaches_the_engine_and_frees_the_slot(
        self, run_dir: Path, engine_at: str, spawn: Spawn
    ) -> None:
        spoken = asyncio.Event()
        with ScriptedEngine(engine_at, {"Echo": Hang(after=2)}) as engine:
            async with hub_at(run_dir) as hub:
                spawn(*VOICE, "Echo")
                await ready(hub, "Echo")
                answer = ask(hub, request="r1", on_partial=lambda partial: spoken.set())
                await soon(spoken.wait())
                hub.cancel("r1")
                assert declined(await soon(answer)).code == "cancelled"
                await until(lambda: engine.cancelled == [engine.asked[0].request])
                await until(lambda: not hub._presence.leases["Echo"].requests)
                assert hub.counters["no_final"] == 0

    async def test_the_voice_keeps_its_budget_by_itself(
        self, run_dir: Path, engine_at: str, spawn: Spawn
    ) -> None:
        with ScriptedEngine(engine_at, {"Echo": Hang(after=2)}):
            async with hub_at(run_dir) as hub:
                spawn(*VOICE, "Echo")
                await ready(hub, "Echo")
                final = declined(await soon(ask(hub, budget_ms=200)))
                assert final.code == "budget"
                await until(lambda: not hub._presence.leases["Echo"].requests)

    async def test_a_restarted_hub_is_greeted_and_served(
        self, run_dir: Path, engine_at: str, spawn: Spawn
    ) -> None:
        with ScriptedEngine(engine_at, SCRIPT):
            async with hub_at(run_dir) as hub:
                spawn(*VOICE, "Echo")
                await ready(hub, "Echo")
                epoch = hub.epoch
            async with hub_at(run_dir) as hub:
                await ready(hub, "Echo")
                assert hub.epoch != epoch
                assert proposal(await soon(ask(hub))).text

    async def test_a_killed_hub_is_replaced_without_mixing_up_their_asks(
        self, run_dir: Path, engine_at: str, spawn: Spawn
    ) -> None:
        with ScriptedEngine(engine_at, {"Echo": "You wait " + "and wait " * 200}, pause=0.02) as engine:
            first = spawn("-c", HUB, run_dir)
            spawn(*VOICE, "Echo")
            assert first.stdout is not None
            assert await asyncio.to_thread(first.stdout.readline) == "speaking\n"
            first.kill()
            await asyncio.to_thread(first.wait)
            async with hub_at(run_dir) as hub:
                await ready(hub, "Echo")
                answer = ask(hub, request="the very same", max_tokens=3)
                assert proposal(await soon(answer)).text == "You wait and"
                await until(lambda: len(engine.cancelled) == 1)

    async def test_a_stopped_process_is_silent_and_comes_back(
        self, run_dir: Path, engine_at: str, spawn: Spawn, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(presence, "RUNG_S", 600.0)
        events, late = Events(), []
        with ScriptedEngine(engine_at, SCRIPT, pause=0.1):
            async with hub_at(run_dir, on_voice=events, on_late=late.append, ping_ms=100) as hub:
                child = spawn(*VOICE, "Echo")
                await ready(hub, "Echo")
                answer = ask(hub)
                await until(lambda: hub.voices["Echo"].state == "speaking")
                child.send_signal(signal.SIGSTOP)
                assert declined(await soon(answer)).code == "stalled"
                assert declined(await soon(ask(hub))).code == "stalled"
                child.send_signal(signal.SIGCONT)
                await until(lambda: "back" in events.states("Echo"))
                assert proposal(await soon(ask(hub))).text
                assert late == []

    async def test_sigterm_says_bye_and_ends_with_code_0(
        self, run_dir: Path, engine_at: str, spawn: Spawn
    ) -> None:
        with ScriptedEngine(engine_at, {"Echo": Hang(after=2)}):
            async with hub_at(run_dir) as hub:
                child = spawn(*VOICE, "Echo")
                await ready(hub, "Echo")
                answer = ask(hub)
                await until(lambda: hub.voices["Echo"].state == "speaking")
                child.send_signal(signal.SIGTERM)
                assert declined(await soon(answer)).code == "gone"
                assert hub.voices["Echo"].detail.startswith("said bye")
                assert (await asyncio.to_thread(ended, child))[0] == 0

    async def test_a_hanging_think_is_answered_for_and_the_voice_stays(
        self, run_dir: Path, spawn: Spawn
    ) -> None:
        file = run_dir / "sleepy.py"
        file.write_text(
            "import time\nfrom voices import Voice\n"
            "class Sleepy(Voice):\n    name = 'Sleepy'\n"
            "    def think(self, ask):\n"
            "        if ask.seed: time.sleep(600)\n        yield 'Awake.'\n"
            "Sleepy().main()\n"
        )
        async with hub_at(run_dir) as hub:
            child = spawn(file)
            await ready(hub, "Sleepy")
            final = declined(await soon(ask(hub, "Sleepy", budget_ms=100, seed=1)))
            assert final.code == "budget"
            assert proposal(await soon(ask(hub, "Sleepy", seed=0))).text == "Awake."
            child.terminate()
            assert (await asyncio.to_thread(ended, child))[0] == 0


HUB = """
import asyncio, pathlib, sys
from tests.bus.tools import ask, hub_at, soon, until

async def main(run_dir):
    async with hub_at(run_dir) as hub:
        await until(lambda: "Echo" in hub.voices)
        ask(hub, request="the very same", max_tokens=400, on_partial=lambda p: print("speaking", flush=True))
        await asyncio.sleep(600)

asyncio.run(main(pathlib.Path(sys.argv[1])))
"""

PARENT = """
import os, subprocess, sys
env = os.environ | ({"INNER_PARENT": str(os.getpid())} if sys.argv[1] == "bound" else {})
child = subprocess.Popen([sys.executable, "-m", "voices.worker", "Echo"], env=env)
print(child.pid, flush=True)
child.wait()
"""


class TestOrphans:
    @pytest.mark.parametrize("bound", ["bound", "loose"])
    async def test_a_voice_does_not_outlive_its_parent(self, run_dir: Path, spawn: Spawn, bound: str) -> None:
        """Bound (INNER_PARENT): at once. Loose: when the hub is silent as well."""
        async with hub_at(run_dir) as hub:
            parent = spawn("-c", PARENT, bound)
            assert parent.stdout is not None
            pid = int(await asyncio.to_thread(parent.stdout.readline))
            await ready(hub, "Echo")
            parent.kill()
            if bound == "bound":
                await until(lambda: hub.voices["Echo"].state == "gone")
        await until(lambda: not _alive(pid))

    async def test_a_parent_that_died_before_the_voice_looked_is_noticed(
        self, run_dir: Path, spawn: Spawn
    ) -> None:
        child = spawn(*VOICE, "Echo", env={"INNER_PARENT": "1" if os.getppid() != 1 else "2"})
        assert (await asyncio.to_thread(ended, child))[0] == 0


class TestStarting:
    def test_an_unknown_voice_is_told_who_there_is(self, spawn: Spawn) -> None:
        code, out = ended(spawn(*VOICE, "Nobody"))
        assert code == 2
        assert "Nobody" in out
        assert "Echo" in out
        assert "Traceback" not in out

    def test_a_bad_prompt_file_is_named_with_its_line(self, run_dir: Path, spawn: Spawn) -> None:
        own = run_dir / "journal"
        own.mkdir()
        (own / "bad.md").write_text("---\nname: Bad\nmood: grim\n---\nis bad.\n")
        code, out = ended(spawn(*VOICE, "Echo", "--prompts", run_dir))
        assert code == 2
        assert "bad.md:3: unknown key 'mood'" in out
        assert "Traceback" not in out

    def test_without_a_hub_it_says_what_to_do(self, spawn: Spawn) -> None:
        code, out = ended(spawn(*VOICE, "Echo", env={"INNER_HUB": ""}))
        assert (code, "inner voice run" in out) == (2, True)

    def test_importing_a_voice_loads_neither_numpy_nor_llama(self) -> None:
        code = "import sys, voices.worker; bad = {'numpy', 'llama_cpp', 'asyncio', 'sqlmodel'} & set(sys.modules)"
        done = subprocess.run(
            [sys.executable, "-c", code + "; print(bad); sys.exit(bool(bad))"], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr


def _alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
