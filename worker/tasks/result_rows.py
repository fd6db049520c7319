"""The rows of a batch prediction as a file: CSV, JSON lines or Parquet, written as they come."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import orjson

from core.artifacts import Writing
from worker.tasks.assignment import TaskFailed

PARQUET_ROWS = 8192
"""of a row group: so many are kept in memory"""


@dataclass(frozen=True)
class ResultRow:
    """`top`: labels with their probabilities, the likeliest first; empty where there is an `error`."""

    image: str
    label: str | None
    top: Sequence[tuple[str, float]]
    error: str | None

    @property
    def predicted(self) -> str | None:
        return self.top[0][0] if self.top else None

    @property
    def probability(self) -> float | None:
        return self.top[0][1] if self.top else None

    def document(self) -> dict[str, Any]:
        return {
            "image": self.image,
            "label": self.label,
            "predicted": self.predicted,
            "probability": self.probability,
            "top": [{"label": label, "probability": probability} for label, probability in self.top],
            "error": self.error,
        }


class ResultWriter(Protocol):
    def write(self, rows: Sequence[ResultRow]) -> None:
        """Appends rows."""

    def finish(self) -> None:
        """Writes what ends a file of this kind."""


class JsonLines:
    """One object a line."""

    def __init__(self, file: Writing) -> None:
        self._file = file

    def write(self, rows: Sequence[ResultRow]) -> None:
        self._file.write(b"".join(orjson.dumps(row.document(), option=orjson.OPT_APPEND_NEWLINE) for row in rows))

    def finish(self) -> None:
        """Nothing ends such a file."""


class Csv:
    """image, label, predicted, probability; then the further labels with their probabilities; error last."""

    def __init__(self, file: Writing, top: int) -> None:
        self._file = file
        self._top = top
        further = [f"{name}_{place}" for place in range(2, top + 1) for name in ("label", "probability")]
        self._write_lines([["image", "label", "predicted", "probability", *further, "error"]])

    def write(self, rows: Sequence[ResultRow]) -> None:
        self._write_lines([self._cells(row) for row in rows])

    def finish(self) -> None:
        """Nothing ends such a file."""

    def _cells(self, row: ResultRow) -> list[Any]:
        scores = [cell for score in row.top for cell in score]
        return [row.image, row.label, *scores, *[None] * (2 * self._top - len(scores)), row.error]

    def _write_lines(self, lines: Sequence[Sequence[Any]]) -> None:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(lines)
        self._file.write(text.getvalue().encode())


class Parquet:
    """The columns of JSON lines; `top` is a list of structs."""

    def __init__(self, file: Writing) -> None:
        """Raises TaskFailed where pyarrow is not installed."""
        try:
            import pyarrow as pa
            from pyarrow import parquet
        except ImportError:
            raise TaskFailed(
                "this worker has no pyarrow to write Parquet with: install kerasd[cpu] or kerasd[gpu], or ask for csv or jsonl"
            ) from None
        score = pa.struct([("label", pa.string()), ("probability", pa.float32())])
        self._schema = pa.schema(
            [
                ("image", pa.string()),
                ("label", pa.string()),
                ("predicted", pa.string()),
                ("probability", pa.float32()),
                ("top", pa.list_(score)),
                ("error", pa.string()),
            ]
        )
        self._table = pa.Table.from_pylist
        self._writer = parquet.ParquetWriter(_Sink(file), self._schema)
        self._waiting: list[ResultRow] = []

    def write(self, rows: Sequence[ResultRow]) -> None:
        self._waiting += rows
        if len(self._waiting) >= PARQUET_ROWS:
            self._write_group()

    def finish(self) -> None:
        if self._waiting:
            self._write_group()
        self._writer.close()

    def _write_group(self) -> None:
        self._writer.write_table(self._table([row.document() for row in self._waiting], schema=self._schema))
        self._waiting = []


class _Sink:
    """A file of the store as pyarrow wants one."""

    closed = False

    def __init__(self, file: Writing) -> None:
        self._file = file

    def write(self, data: Any) -> int:
        content = bytes(data)
        self._file.write(content)
        return len(content)

    def tell(self) -> int:
        return self._file.bytes

    def flush(self) -> None:
        """The store flushes when the file is closed."""

    def close(self) -> None:
        """The store closes its files itself."""


def result_writer(name: str, file: Writing, top: int) -> ResultWriter:
    """`name` is csv, jsonl or parquet; `top` labels of each image are told."""
    if name == "csv":
        return Csv(file, top)
    return Parquet(file) if name == "parquet" else JsonLines(file)
