"""Runs the embedded engine: `python -m voices.engine --model FILE --endpoint ipc://…`.

Exit codes: 0 asked to stop, 2 bad flags, 5 the model can't be used (one line on stderr says why).
"""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

from voices.engine.llama import ModelFileError
from voices.engine.server import Server


def main() -> int:
    """Serve until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="python -m voices.engine", description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="a GGUF file")
    parser.add_argument("--endpoint", required=True, help="where to listen, such as ipc:///run/engine.sock")
    parser.add_argument("--threads", type=int, help="threads for decoding; measured when left out")
    parser.add_argument("--cells", type=int, default=8192, help="KV cells shared by all sequences")
    flags = parser.parse_args()
    stopping: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda signum, _frame: stopping.append(signum))
    try:
        server = Server(flags.model, flags.endpoint, threads=flags.threads, cells=flags.cells)
    except (ModelFileError, MemoryError) as error:
        print(f"engine: {error}", file=sys.stderr)
        return 5
    print(f"engine: {server.llama.name}, {server.threads} threads {server.timings}", flush=True)
    try:
        server.run(lambda: bool(stopping))
    finally:
        server.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
