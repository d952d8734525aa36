"""Real processes of ours for tests."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from voices.engine.client import EngineClient, EngineLost

ENGINE_ENV = {**os.environ, "GOMP_SPINCOUNT": "1000"}


class EngineProcess:
    """A real engine process and its endpoint."""

    def __init__(self, model: Path, directory: Path, *flags: str) -> None:
        self.endpoint = f"ipc://{directory}/engine.sock"
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "voices.engine",
                "--model",
                str(model),
                "--endpoint",
                self.endpoint,
                *flags,
            ],
            env=ENGINE_ENV,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def wait(self, seconds: float = 60) -> None:
        """Until it answers."""
        with EngineClient(self.endpoint, patience=1.0) as client:
            deadline = time.monotonic() + seconds
            while True:
                try:
                    client.info()
                    return
                except EngineLost:
                    assert self.process.poll() is None, self.stop()
                    assert time.monotonic() < deadline, self.stop()

    def stop(self) -> str:
        """End it; what it printed."""
        self.process.terminate()
        out, _ = self.process.communicate(timeout=10)
        return out.decode()
