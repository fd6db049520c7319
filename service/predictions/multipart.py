"""The `file` parts of a multipart/form-data body."""

from __future__ import annotations

from collections.abc import Sequence

from core.errors import Fault, InvalidInput
from service.multipart import MOST_FILES, MultipartReader


def file_parts(body: bytes, content_type: bytes) -> Sequence[bytes]:
    """The contents of all parts named `file`, in order.

    Raises HttpError (400) for a body that is not multipart, InvalidInput for other parts, none or too many.
    """
    parts = _Files(content_type)
    parts.feed(body)
    parts.finish()
    return parts.checked()


class _Files(MultipartReader):
    """Collects the parts."""

    def __init__(self, content_type: bytes) -> None:
        super().__init__(content_type)
        self._files: list[bytes] = []
        self._faults: list[Fault] = []
        self._part = ""
        self._pieces: list[bytes] = []

    def begin_part(self, name: str, filename: str) -> None:
        self._part, self._pieces = name, []
        if len(self._files) == MOST_FILES:
            raise InvalidInput(f"the body has more than {MOST_FILES} files", [Fault("/file", "too many files")])

    def part_data(self, data: bytes) -> None:
        self._pieces.append(data)

    def end_part(self) -> None:
        if self._part == "file":
            self._files.append(b"".join(self._pieces))
        elif len(self._faults) < MOST_FILES:
            detail = "unknown part; images go into parts named file"
            self._faults.append(Fault(f"/{self._part}", detail, "unknown_field"))

    def checked(self) -> Sequence[bytes]:
        if not self._files:
            self._faults.append(Fault("/file", "at least one part named file is needed", "required"))
        if self._faults:
            raise InvalidInput(f"the body cannot be used: {self._faults[0].detail}", self._faults)
        return self._files
