"""The command line: `perceivers models | tasks | train | evaluate | predict | demo`."""

from perceivers.cli.app import main

__all__ = ["main"]
