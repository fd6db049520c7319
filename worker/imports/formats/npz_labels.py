"""Labels of an npz in Keras layout: whole numbers 0..n-1, or text; from arrays to one code per image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worker.imports.formats.faults import check_labels, rejection, shown
from worker.imports.formats.npy import Array
from worker.imports.source import Limits, Split

Codes = NDArray[np.int32]
_MOST_TEXT_BYTES = 4096
"""of one label in an array: 1,024 characters"""


def read_labels(
    arrays: Mapping[Split, Array], names: Array | None, limits: Limits
) -> tuple[tuple[str, ...], dict[Split, Codes]]:
    """The classes in order, and each split's codes. Raises Rejected."""
    kinds = {_kind(array) for array in arrays.values()}
    if len(kinds) > 1:
        raise rejection(arrays["train"].name, "mixed_labels", "some labels are numbers and some are text")
    given = None if names is None else _texts(names, limits)
    if kinds == {"text"}:
        return _from_texts(arrays, given, limits)
    return _from_numbers(arrays, given, limits)


def _kind(array: Array) -> str:
    if array.row_shape not in ((), (1,)):
        detail = f"labels have the shape (n,) or (n, 1), not {array.shape}; for one-hot rows save labels.argmax(axis=1)"
        raise rejection(array.name, "bad_labels", detail)
    if array.dtype.kind in "iu":
        return "number"
    if array.dtype.kind in "US":
        return "text"
    detail = f"labels are whole numbers from 0 or text, not {array.dtype}; save labels.astype('int64')"
    raise rejection(array.name, "bad_labels", detail)


def _from_numbers(
    arrays: Mapping[Split, Array], given: Sequence[str] | None, limits: Limits
) -> tuple[tuple[str, ...], dict[Split, Codes]]:
    codes = {split: _numbers(array, limits) for split, array in arrays.items()}
    train = arrays["train"].name
    classes = int(codes["train"].max()) + 1 if given is None else len(given)
    labels = check_labels(given or [str(number) for number in range(classes)], train, limits)
    _check_train(np.unique(codes["train"]), labels, train)
    for split, values in codes.items():
        if values.max() >= classes:
            detail = f"the label {values.max()} names none of the {classes} classes"
            raise rejection(arrays[split].name, "class_not_in_train", detail)
    return labels, codes


def _numbers(array: Array, limits: Limits) -> Codes:
    codes, at = np.empty(array.shape[0], np.int32), 0
    for rows in array.rows():
        if rows.min() < 0 or rows.max() >= limits.classes:
            detail = f"its labels go from {rows.min()} to {rows.max()}; they must be 0 to {limits.classes - 1}"
            raise rejection(array.name, "bad_labels", detail)
        codes[at : at + len(rows)] = rows.reshape(-1)
        at += len(rows)
    return codes


def _from_texts(
    arrays: Mapping[Split, Array], given: Sequence[str] | None, limits: Limits
) -> tuple[tuple[str, ...], dict[Split, Codes]]:
    found: dict[str, int] = {}
    raw = {split: _provisional(array, found, limits) for split, array in arrays.items()}
    train = arrays["train"].name
    labels = check_labels(sorted(found) if given is None else given, train, limits)
    position = {label: index for index, label in enumerate(labels)}
    for text in found:
        if text not in position:
            raise rejection(train, "bad_labels", f"the label {shown(text)!r} is not among the class names")
    final = np.array([position[text] for text in found], np.int32)
    codes = {split: final[values] for split, values in raw.items()}
    _check_train(np.unique(codes["train"]), labels, train)
    return labels, codes


def _provisional(array: Array, found: dict[str, int], limits: Limits) -> Codes:
    """Codes in the order in which texts are first met, which `found` keeps."""
    codes, at = np.empty(array.shape[0], np.int32), 0
    for rows in _text_rows(array):
        distinct, inverse = np.unique(rows.reshape(-1), return_inverse=True)
        local = [found.setdefault(_text(value, array), len(found)) for value in distinct.tolist()]
        if len(found) > limits.classes:
            raise rejection(array.name, "too_many_classes", f"there are more than {limits.classes} different labels")
        codes[at : at + len(rows)] = np.array(local, np.int32)[inverse.reshape(-1)]
        at += len(rows)
    return codes


def _texts(array: Array, limits: Limits) -> list[str]:
    if array.dtype.kind not in "US" or array.row_shape:
        raise rejection(array.name, "bad_labels", "class names are a one-dimensional array of text")
    if array.shape[0] > limits.classes:
        raise rejection(
            array.name, "too_many_classes", f"it names {array.shape[0]} classes; the limit is {limits.classes}"
        )
    texts = [_text(value, array) for rows in _text_rows(array) for value in rows.tolist()]
    return list(check_labels(texts, array.name, limits))


def _text_rows(array: Array) -> Any:
    if array.dtype.itemsize > _MOST_TEXT_BYTES:
        raise rejection(array.name, "bad_labels", f"a label takes {array.dtype.itemsize} bytes, too much for a name")
    return array.rows()


def _text(value: str | bytes, array: Array) -> str:
    if isinstance(value, str):
        return value
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise rejection(array.name, "bad_labels", "a label is not UTF-8") from None


def _check_train(present: NDArray[np.int32], labels: Sequence[str], place: str) -> None:
    missing = sorted(set(range(len(labels))) - set(present.tolist()))
    if missing:
        detail = f"no training image is labelled {shown(labels[missing[0]])!r}; every class needs one (0 to n-1 without gaps)"
        raise rejection(place, "empty_class", detail)
