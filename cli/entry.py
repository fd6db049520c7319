"""`kerasd` as it is installed."""

from __future__ import annotations

import sys

from cli.parts import PARTS


def main() -> None:
    """Parts of the server begin at once: they take no arguments, and reading the command line is a tenth of their start."""
    match sys.argv[1:]:
        case [part] if part in PARTS:
            PARTS[part]()
        case _:
            from cli.main import main as read_command_line

            read_command_line()
