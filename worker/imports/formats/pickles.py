"""CIFAR's batches are pickles. They are read without trusting them, in two steps:

1. every operation is looked at before one is carried out: only those that build dicts, lists, text, bytes, whole
   numbers and NumPy arrays may occur, and they may name only what such an array needs;
2. the pickle is loaded with stand-ins in place of NumPy's constructors, so that no code but ours and the unpickler's
   own ever sees what it says; the array is then made from the bytes, its shape checked.
"""

from __future__ import annotations

import io
import math
import pickle
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worker.imports.formats.faults import rejection, shown
from worker.imports.formats.operations import Unsafe, check_global, check_operations
from worker.imports.source import Rejected

MOST_PICKLE_BYTES = 256 << 20
"""The largest original, CIFAR-100's train, has 155 MB."""

_DTYPES = frozenset({"u1", "|u1", "i4", "<i4", "i8", "<i8"})
_DAMAGE = (
    pickle.UnpicklingError, ValueError, EOFError, AttributeError, IndexError, KeyError, TypeError, OverflowError,
    MemoryError, RecursionError,
)  # fmt: skip


class _Budget:
    """Bytes that `encode` may still make: a text named a thousand times must not become a thousand copies."""

    def __init__(self, left: int) -> None:
        self.left = left

    def spend(self, count: int) -> None:
        self.left -= count
        if self.left < 0:
            raise Unsafe("it makes far more bytes than it holds")


class _Array:
    """Stands in for an array while a pickle is loaded."""

    __slots__ = ("state",)

    def __init__(self) -> None:
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _DType:
    __slots__ = ("name",)

    def __init__(self, name: Any) -> None:
        self.name = name

    def __setstate__(self, state: Any) -> None:
        """Byte order and flags, which the allowed types do not vary in."""


class _Global:
    """What the pickle gets for a name. Nothing can be set on it, and it makes stand-ins only."""

    __slots__ = ("_budget", "_name")

    def __init__(self, name: str, budget: _Budget) -> None:
        self._name, self._budget = name, budget

    def __setstate__(self, state: Any) -> None:
        raise Unsafe(f"it changes {self._name}")

    def __call__(self, *args: Any) -> Any:
        if self._name == "_reconstruct":
            return _Array()
        if self._name == "dtype" and args:
            return _DType(args[0])
        if self._name == "encode" and len(args) == 2 and isinstance(args[0], str) and args[1] == "latin1":
            self._budget.spend(len(args[0]))
            return args[0].encode("latin1")
        raise Unsafe(f"it calls {self._name} as no batch does")


class _Unpickler(pickle.Unpickler):
    def __init__(self, content: bytes) -> None:
        super().__init__(io.BytesIO(content), encoding="bytes")
        self._budget = _Budget(len(content))

    def find_class(self, module: str, name: str) -> _Global:
        check_global(module, name)
        return _Global(name, self._budget)


def load_batch(content: bytes, place: str) -> dict[str, Any]:
    """A batch with its keys as text. Raises Rejected, `unsafe_pickle` when it wants anything but data."""
    try:
        check_operations(content)
        batch = _Unpickler(content).load()
    except Unsafe as error:
        raise rejection(place, "unsafe_pickle", f"{error}; it is not read, and nothing in it was run") from None
    except _DAMAGE as error:
        raise rejection(place, "damaged_batch", f"it is not a CIFAR batch: {shown(str(error))}") from None
    if not isinstance(batch, dict):
        raise rejection(place, "damaged_batch", "it is not a CIFAR batch: it holds no table")
    return {_key(key): value for key, value in batch.items() if isinstance(key, str | bytes)}


def to_array(value: Any, place: str) -> NDArray[np.integer[Any]]:
    """A list of whole numbers or an unpickled array of them. Raises Rejected."""
    if isinstance(value, list) and all(type(number) is int and abs(number) < 2**31 for number in value):
        return np.array(value, np.int64)
    if isinstance(value, _Array):
        return _from_state(value.state, place)
    raise rejection(place, "damaged_batch", "it holds neither numbers nor an array where a batch does")


def _from_state(state: Any, place: str) -> NDArray[np.integer[Any]]:
    """From NumPy's state: (version, shape, dtype, Fortran order, bytes)."""
    damaged: Rejected = rejection(place, "damaged_batch", "it holds an array of another form than a batch's")
    if not isinstance(state, tuple) or len(state) != 5:
        raise damaged
    _, shape, dtype, fortran, raw = state
    kind = getattr(dtype, "name", None)
    kind = kind.decode("latin1") if isinstance(kind, bytes) else kind
    whole = isinstance(shape, tuple) and all(type(side) is int and 0 <= side < 2**31 for side in shape)
    if not whole or fortran or kind not in _DTYPES or not isinstance(raw, bytes):
        raise damaged
    if math.prod(shape) * np.dtype(kind).itemsize != len(raw):
        raise damaged
    return np.frombuffer(raw, kind).reshape(shape)


def _key(key: str | bytes) -> str:
    return key.decode("latin1") if isinstance(key, bytes) else key
