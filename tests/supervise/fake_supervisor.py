"""A supervisor over fake children, as a process of its own: `fake_supervisor.py DIRECTORY WHAT…`.

Prints `ready`, runs until a signal, and ends with 0, or 130 after a second signal.
"""

import asyncio
import sys
from pathlib import Path

from orchestrator.process import Part
from orchestrator.supervise import Interrupts, Supervisor, until_interrupted
from tests.supervise.helpers import until


async def perform(directory: Path, kinds: list[str]) -> int:
    supervisor = Supervisor(directory / "logs", state_file=directory / "children.json")
    parts = [
        Part(f"{kind}-{n}", "tests.supervise.fake_child", (kind, str(directory / f"{n}.pids")))
        for n, kind in enumerate(kinds)
    ]

    async def work() -> None:
        await supervisor.start(parts)
        await until(lambda: all((directory / f"{n}.pids").exists() for n in range(len(kinds))))
        print("ready", flush=True)
        await supervisor.watch()

    with Interrupts(again=supervisor.kill) as interrupts:
        try:
            await until_interrupted(work(), interrupts)
        finally:
            await supervisor.stop()
        return 130 if interrupts.twice else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(perform(Path(sys.argv[1]), sys.argv[2:])))
