"""A child for tests: `live`, `stubborn` (ignores SIGTERM), `crash`, `crash-until N`, `hopeless`, `parent`.

Every life appends its pid to the file given last.
"""

import signal
import subprocess
import sys
import time
from pathlib import Path


def sleep_on() -> None:
    while True:
        time.sleep(60)


def main() -> None:
    what, *rest, path = sys.argv[1:]
    signal.signal(signal.SIGINT, lambda *_: print("heard SIGINT", flush=True))
    if what == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with Path(path).open("a", encoding="utf-8") as file:
        import os

        file.write(f"{os.getpid()}\n")
        if what == "parent":
            helper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
            file.write(f"{helper.pid}\n")
    lives = len(Path(path).read_text(encoding="utf-8").split())
    if what == "crash" or (what == "crash-until" and lives < int(rest[0])):
        print("something broke\nValueError: this is why", file=sys.stderr)
        sys.exit(1)
    if what == "hopeless":
        print("this model file is not a GGUF", file=sys.stderr)
        sys.exit(78)
    sleep_on()


if __name__ == "__main__":
    main()
