"""What four voices cost over the bare model, and what the whole program takes: `python -m bench.engine [--json]`.

The fork: four voices of 24 tokens on a thread of 400, asked through the real bus of real voice processes, the
engine taking every signal of every token. The peer: a bare `llama_decode` loop (bench.bare) over the same batches,
same GGUF, same thread count, logits read and nothing computed from them. The two take turns, so that
other load on the machine meets both; the figure is the median of the ratios.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

from orchestrator.bus import Hub
from voices.engine.client import EngineClient, EngineLost
from voices.engine.prepare import EMBEDDED, prepare
from voices.engine.protocol import Info
from voices.wire import Declined, Proposal, Turn

VOICES = ("Echo", "Pulse", "Doubt", "Shift")
TOKENS = 24
THREAD_TOKENS = 400
MODE = "bench"
MODE_FILE = """---
title: Bench
unit: line
stop: ["\\u0001"]
lead: [Echo]
---
A person thinks aloud about the sea, the city and the years between them. The story never ends.
{voices}
"""
VOICE_FILE = """---
name: {name}
temperature: 0.8
max_tokens: {tokens}
lead: true
---
goes on and on with the story.
"""
SPIN = {"GOMP_SPINCOUNT": "1000"}
"""Engine and bare loop are processes of one kind: OpenMP waits for its threads in the same way in both."""
MUST = {"fork_vs_bare_loop": 1.5, "rss_total_mb": 1200.0, "rss_voice_mb": 60.0, "warm_start_s": 15.0}


class Processes:
    """An engine and four voices over real sockets in a directory of their own."""

    def __init__(self, model: Path, directory: Path, threads: int | None) -> None:
        self.directory = directory
        prompts = directory / "prompts" / MODE
        prompts.mkdir(parents=True)
        (prompts / "mode.md").write_text(MODE_FILE)
        for name in VOICES:
            text = VOICE_FILE.format(name=name, tokens=TOKENS)
            (prompts / f"{name.lower()}.md").write_text(text)
        self.hub = f"ipc://{directory}/hub.sock"
        self.engine = f"ipc://{directory}/engine.sock"
        environment = {
            **os.environ,
            **SPIN,
            "INNER_HUB": self.hub,
            "INNER_ENGINE": self.engine,
        }
        flags = ["--threads", str(threads)] if threads else []
        commands = [["voices.engine", "--model", str(model), "--endpoint", self.engine, *flags]]
        commands += [["voices.worker", name, "--prompts", str(prompts.parent)] for name in VOICES]
        self._children = [
            subprocess.Popen(
                [sys.executable, "-m", *command],
                env=environment,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            for command in commands
        ]

    def info(self) -> Info:
        """The engine, once it answers."""
        with EngineClient(self.engine, patience=2.0) as client:
            for _ in range(30):
                try:
                    return client.info()
                except EngineLost:
                    continue
        raise SystemExit("the engine did not start; run python -m voices.engine by hand to see why")

    def stop(self) -> None:
        """End them all."""
        for child in self._children:
            child.terminate()
        for child in self._children:
            child.wait()


def thread_of(engine: EngineClient, tokens: int, salt: int) -> tuple[Turn, ...]:
    """A thread of about `tokens` tokens; `salt` makes every one new to the cache."""
    turns = [
        Turn(
            author="Me",
            text=f"Evening number {salt}: I think of the sea and of what I left there.",
            human=True,
        )
    ]
    line = "The tide comes back each night and brings another thing that I had nearly forgotten about us"
    total = 0
    while total < tokens:
        turns.append(Turn(author=VOICES[len(turns) % 4], text=f"{line}, time {len(turns)}."))
        total += len(engine.tokenize(turns[-1].text)) + 4
    return tuple(turns)


async def ask(hub: Hub, voice: str, context: Sequence[Turn], seed: int) -> Proposal:
    """One proposal. Ends the benchmark where a voice declines: a ratio of less work would be a lie."""
    answer = await hub.ask(
        voice,
        request=uuid.uuid4().hex,
        thread="bench",
        mode=MODE,
        context=context,
        budget_ms=120_000,
        seed=seed,
    )
    if isinstance(answer, Declined):
        raise SystemExit(f"{voice} declined: {answer.code} {answer.message}")
    return answer


class BareLoop:
    """A process that runs bench.bare: a model, a context, and nothing around `llama_decode`."""

    def __init__(self, model: Path, threads: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.bare", str(model), str(threads)],
            env={**os.environ, **SPIN},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def seconds(self, shape: dict[str, Any]) -> float:
        """Seconds of the decodes of one fork of this shape."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(shape) + "\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline())

    def stop(self) -> None:
        """End it."""
        self._process.communicate()


async def wait_for_voices(hub: Hub) -> None:
    """Until all have said hello."""
    for _ in range(600):
        if sum(state.state == "ready" for state in hub.voices.values()) == len(VOICES):
            return
        await asyncio.sleep(0.05)
    raise SystemExit("the voices did not come; run python -m voices.worker by hand to see why")


async def fork_against_bare_loop(
    processes: Processes, bare: BareLoop, repeats: int
) -> list[tuple[float, float]]:
    """(seconds of the fork through voices and bus, seconds of the bare loop), `repeats` times in turns."""
    pairs = []
    hub = Hub(processes.hub, processes.directory)
    engine = EngineClient(processes.engine)
    await hub.start()
    try:
        await wait_for_voices(hub)
        for repeat in range(repeats + 1):
            context = await asyncio.to_thread(thread_of, engine, THREAD_TOKENS, repeat)
            await ask(
                hub, "Echo", context, seed=repeat
            )  # the lead: the thread's prefix is in the cache, as in a step
            began = time.perf_counter()
            spoken = await asyncio.gather(*(ask(hub, voice, context, seed=1000 + repeat) for voice in VOICES))
            seconds = time.perf_counter() - began
            lengths = [len(p.stats.tokens) for p in spoken if p.stats]
            rows = [sum(length > i + 1 for length in lengths) for i in range(max(lengths) - 1)]
            tag = max(p.stats.prefill for p in spoken if p.stats)
            shape = {"prefix": THREAD_TOKENS, "voices": len(VOICES), "tag": tag, "rows": rows}
            bare_seconds = await asyncio.to_thread(bare.seconds, shape)
            if repeat:  # the first warms both up
                pairs.append((seconds, bare_seconds))
    finally:
        engine.close()
        await hub.stop()
    return pairs


def whole_program(model_dir: Path) -> dict[str, float]:
    """Resident memory of every process of `inner run`, and the seconds of a warm start."""
    with tempfile.TemporaryDirectory(prefix="inner-", dir="/tmp") as home:
        (Path(home) / "models").symlink_to(model_dir)
        environment = {**os.environ, "INNER_HOME": home, "NO_COLOR": "1", "COLUMNS": "200"}
        began = time.monotonic()
        command = [sys.executable, "-m", "orchestrator.cli", "run", "--no-browser"]
        program = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        assert program.stdout is not None
        for line in program.stdout:
            if line.startswith("ready:"):
                break
        else:
            raise SystemExit("inner run did not become ready; run it by hand to see why")
        seconds = time.monotonic() - began
        time.sleep(2)
        root = psutil.Process(program.pid)
        sizes = {
            p.pid: (p.memory_info().rss / 1e6, " ".join(p.cmdline())) for p in (root, *root.children(True))
        }
        program.send_signal(signal.SIGINT)
        program.communicate(timeout=20)
    voices = [size for size, command in sizes.values() if "voices.worker" in command]
    return {
        "rss_total_mb": round(sum(size for size, _ in sizes.values()), 1),
        "rss_voice_mb": round(max(voices), 1),
        "warm_start_s": round(seconds, 2),
    }


def measure(repeats: int, threads: int | None) -> dict[str, Any]:
    """Everything, as the JSON holds it."""
    with tempfile.TemporaryDirectory(prefix="inner-bench-", dir="/tmp") as name:
        directory = Path(name)
        models = directory / "models"
        model = prepare(EMBEDDED, models, lambda text: print(text, file=sys.stderr))
        processes = Processes(model, directory / "run", threads)
        try:
            info = processes.info()
            bare = BareLoop(model, info.threads)
            try:
                pairs = asyncio.run(fork_against_bare_loop(processes, bare, repeats))
            finally:
                bare.stop()
        finally:
            processes.stop()
        figures = {"fork_vs_bare_loop": round(statistics.median(a / b for a, b in pairs), 3)}
        figures |= whole_program(models)
    machine = {
        "cpu": platform.processor() or platform.machine(),
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
        "library": info.library,
        "model": info.name,
        "threads": info.threads,
        "thread_timings_ms": info.thread_timings,
    }
    seconds = [{"fork_s": round(a, 3), "bare_s": round(b, 3), "ratio": round(a / b, 3)} for a, b in pairs]
    return {"machine": machine, "figures": figures, "runs": seconds}


def main() -> None:
    """Print a table, or JSON."""
    parser = argparse.ArgumentParser(prog="python -m bench.engine", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--repeats", type=int, default=7, help="forks measured (default 7)")
    parser.add_argument("--threads", type=int, help="threads of the engine; measured when left out")
    flags = parser.parse_args()
    result = measure(flags.repeats, flags.threads)
    if flags.json:
        print(json.dumps(result))
        return
    table = Table(title=f"{result['machine']['model']}, {result['machine']['threads']} threads")
    for column in ("figure", "measured", "must"):
        table.add_column(column, justify="left" if column == "figure" else "right")
    for name, value in result["figures"].items():
        table.add_row(name, f"{value}", f"≤ {MUST[name]:g}")
    Console().print(table)


if __name__ == "__main__":
    main()
