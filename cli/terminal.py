"""The terminal that several processes share: whole lines, each with the name of who said it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TextIO

LONGEST_LINE = 8192
"""bytes; what is longer is broken, so that a process that prints no newline costs no memory"""

PALETTE = (36, 32, 35, 34, 33)
"""ANSI foregrounds: cyan, green, magenta, blue, yellow"""

RESET = "\x1b[0m"

_COLOR = r"\x1b\[[0-9;]*m"
_OTHER_CONTROLS = re.compile(rf"(?!{_COLOR})[\x00-\x08\x0a-\x1f\x7f\x80-\x9f]")
_COLORS = re.compile(_COLOR)


class Lines:
    """Cuts a byte stream into lines of text."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, chunk: bytes) -> list[str]:
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        if len(self._rest) > LONGEST_LINE:
            lines.append(self._rest)
            self._rest = b""
        return [_decode(line) for line in lines]

    def flush(self) -> list[str]:
        rest, self._rest = self._rest, b""
        return [_decode(rest)] if rest else []


class Terminal:
    """Writes prefixed lines. `closed` turns true when nobody reads them any more."""

    def __init__(self, stream: TextIO, names: Iterable[str]) -> None:
        self._stream = stream
        self._colored = stream.isatty()
        names = list(names)
        self._width = max(map(len, names), default=0)
        self._colors = {name: PALETTE[position % len(PALETTE)] for position, name in enumerate(names)}
        self.closed = False

    def line(self, name: str, text: str) -> None:
        label = f"{name:<{self._width}} |"
        if self._colored:
            label = f"\x1b[{self._colors.get(name, 1)}m{label}{RESET}"
            text = f"{text}{RESET}" if "\x1b" in text else text
        else:
            text = _COLORS.sub("", text)
        self.write(f"{label} {_OTHER_CONTROLS.sub('', text)}")

    def write(self, text: str) -> None:
        """One or more whole lines as they are."""
        if self.closed:
            return
        try:
            self._stream.write(text + "\n")
            self._stream.flush()
        except (BrokenPipeError, OSError):
            self.closed = True

    def bold(self, text: str) -> str:
        return f"\x1b[1m{text}{RESET}" if self._colored else text


def _decode(line: bytes) -> str:
    """Text of one line; of one redrawn with carriage returns, the last drawing."""
    return line.decode(errors="replace").rstrip("\r").rsplit("\r", 1)[-1]
