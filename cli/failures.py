"""How a command fails: one message for a person, one exit code for a script."""

from __future__ import annotations

FAILED = 1
INVALID = 2
UNREACHABLE = 3
INTERRUPTED = 130


class CommandFailed(Exception):
    """Ends the command; the message is printed to standard error."""

    def __init__(self, message: str, exit_code: int = FAILED) -> None:
        super().__init__(message)
        self.exit_code = exit_code
