"""Starts a module as a child that cannot outlive its parent: `python -P -m orchestrator.child MODULE ARG…`.

Owns the promise "no orphan ever" (fault 31). Imports next to nothing, since every process of ours pays for
it, and must not know which module it runs.
"""

from __future__ import annotations

import ctypes
import os
import runpy
import signal
import sys
import threading
import time

PARENT = "INNER_PARENT"
"""Pid of the process that must live as long as this one."""
PR_SET_PDEATHSIG = 1
"""prctl(2)"""
WATCH_SECONDS = 0.5


def orphaned() -> bool:
    """True where the parent named in the environment is not our parent any more."""
    parent = os.environ.get(PARENT, "")
    return parent.isdigit() and os.getppid() != int(parent)


def die_with_parent() -> None:
    """Have the kernel end this process with its parent; elsewhere a thread looks every half second."""
    if sys.platform == "linux":
        if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    else:
        threading.Thread(target=_watch, name="parent", daemon=True).start()
    if orphaned():  # it died before the line above
        sys.exit(1)


def _watch() -> None:
    while not orphaned():
        time.sleep(WATCH_SECONDS)
    os._exit(1)


def main() -> None:
    """Run the module named first as __main__, with the other arguments as its own."""
    die_with_parent()
    sys.argv = sys.argv[1:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
