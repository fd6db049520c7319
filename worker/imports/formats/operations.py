"""Looks through a pickle without carrying anything out: which operations it uses, and what it names.

Allowed operations alone can still be expensive, so what the unpickler pays dearly for is bounded too: memo indexes (it
makes room for the one it is given), and tuples in tuples (as a key of a dict they are hashed by recursion, each as
often as it is referred to).
"""

from __future__ import annotations

import pickletools
import warnings

from worker.imports.formats.faults import shown

MOST_OPERATIONS = 1_000_000
"""The largest original has about 250,000."""

_MOST_LOOSE_TUPLES = 1_000
_ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("_codecs", "encode"),
}
_VALUES = (
    "NONE NEWTRUE NEWFALSE INT BININT BININT1 BININT2 LONG1 STRING BINSTRING SHORT_BINSTRING UNICODE BINUNICODE "
    "SHORT_BINUNICODE BINUNICODE8 BINBYTES SHORT_BINBYTES BINBYTES8 EMPTY_TUPLE"
)
_TABLES = "MARK EMPTY_DICT DICT SETITEM SETITEMS EMPTY_LIST LIST APPEND APPENDS GLOBAL STACK_GLOBAL"
_TUPLES = frozenset({"TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"})
_GETS = frozenset({"GET", "BINGET", "LONG_BINGET"})
_PUTS = frozenset({"PUT", "BINPUT", "LONG_BINPUT"})
_CALLS = frozenset({"REDUCE", "BUILD"})
_QUIET = frozenset({"PROTO", "FRAME", "MEMOIZE"}) | _PUTS
"""leave the value on top of the stack where it is"""
_KNOWN = frozenset({*_VALUES.split(), *_TABLES.split(), "STOP"}) | _TUPLES | _GETS | _CALLS | _QUIET


class Unsafe(Exception):
    """The pickle wants something that no batch needs."""


def check_operations(content: bytes) -> None:
    """Raises Unsafe, and ValueError when it is not a pickle."""
    scan = _Scan()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of escapes in text, which pickletools passes on
        for count, (operation, argument, _) in enumerate(pickletools.genops(content)):
            if operation.name not in _KNOWN:
                raise Unsafe(f"it uses {operation.name}, which no batch needs")
            if count >= MOST_OPERATIONS:
                raise Unsafe(f"it has more than {MOST_OPERATIONS} parts")
            if operation.name == "GLOBAL":
                check_global(*str(argument).split(" ", 1))
            scan.see(operation.name, argument if isinstance(argument, int) else 0, count)


def check_global(module: str, name: str) -> None:
    """Raises Unsafe unless an array of bytes needs it."""
    if (module, name) not in _ALLOWED:
        raise Unsafe(f"it wants {shown(module)}.{shown(name)}, which no batch needs")


class _Scan:
    """Follows the memo and the tuples."""

    def __init__(self) -> None:
        self._on_top = False
        self._loose = self._memoized = 0
        self._put = False
        self._tuples: set[int] = set()

    def see(self, name: str, argument: int, count: int) -> None:
        if name in _TUPLES:
            self._loose += 1
        elif name in _CALLS and self._on_top:
            self._loose -= 1
        elif name in _GETS and argument in self._tuples:
            raise Unsafe("it uses a part twice that no batch does")
        elif name in _PUTS or name == "MEMOIZE":
            self._memoize(name, argument, count)
        if self._loose > _MOST_LOOSE_TUPLES:
            raise Unsafe("it nests parts as no batch does")
        if name not in _QUIET:
            self._on_top = name in _TUPLES

    def _memoize(self, name: str, argument: int, count: int) -> None:
        """Picklers number by hand (PUT) or let it count (MEMOIZE), never both."""
        numbered = name != "MEMOIZE"
        if (self._memoized and numbered != self._put) or argument > count:
            raise Unsafe("it numbers its parts as no pickler does")
        if self._on_top:
            self._tuples.add(argument if numbered else self._memoized)
        self._put = numbered
        self._memoized += 1
