"""A data directory of its own for every test, as for the command line."""

from tests.cli.conftest import home

__all__ = ["home"]
