"""`python -m ui --port P [--host 127.0.0.1]`: the interface as a process of its own."""

from __future__ import annotations

import argparse
import logging
import sys

from orchestrator.errors import InnerError
from orchestrator.settings import load_settings
from voices.role import PromptFileError


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m ui", description=__doc__)
    parser.add_argument("--port", type=int, help="port to listen on; 0: any free one")
    parser.add_argument("--host", help="address to listen on (this machine only by default)")
    asked = parser.parse_args()
    try:
        settings = load_settings()
        logging.basicConfig(
            level=settings.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s"
        )
        logging.getLogger("alembic").setLevel(logging.WARNING)
        settings.make_dirs()
        from ui.server import (
            serve,  # Streamlit takes a second to import: only once the settings are known good
        )

        serve(settings, asked.host or settings.host, settings.port if asked.port is None else asked.port)
    except (InnerError, PromptFileError) as error:
        print(f"{error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
