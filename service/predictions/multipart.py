"""The `file` parts of a multipart/form-data body."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from http import HTTPStatus

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from core.errors import Fault, InvalidInput
from service.problems import HttpError

MOST_FILES = 1024

# It writes a line of each malformed body, which the answer explains already.
logging.getLogger("python_multipart").setLevel(logging.CRITICAL)


def file_parts(body: bytes, content_type: bytes) -> Sequence[bytes]:
    """The contents of all parts named `file`, in order.

    Raises HttpError (400) for a body that is not multipart, InvalidInput for other parts, none or too many.
    """
    _, options = parse_options_header(content_type)
    boundary = options.get(b"boundary", b"")
    if not boundary:
        raise _malformed("the Content-Type has no boundary")
    parts = _Parts()
    try:
        parser = MultipartParser(
            boundary,
            {
                "on_part_begin": parts.begin,
                "on_header_field": parts.header_name,
                "on_header_value": parts.header_value,
                "on_header_end": parts.end_header,
                "on_part_data": parts.content,
                "on_part_end": parts.end,
                "on_end": parts.finish,
            },
        )
        parser.write(body)
    except FormParserError as error:
        raise _malformed(str(error)) from None
    if not parts.finished:
        raise _malformed("the closing boundary is missing")
    return parts.checked()


def _malformed(detail: str) -> HttpError:
    return HttpError(HTTPStatus.BAD_REQUEST, "malformed_multipart", f"the body is not multipart/form-data: {detail}")


class _Parts:
    """Collects the parts that the parser finds."""

    def __init__(self) -> None:
        self.finished = False
        self._files: list[bytes] = []
        self._faults: list[Fault] = []
        self._name = b""
        self._header = (b"", b"")
        self._pieces: list[bytes] = []

    def begin(self) -> None:
        self._name, self._pieces = b"", []
        if len(self._files) == MOST_FILES:
            raise InvalidInput(f"the body has more than {MOST_FILES} files", [Fault("/file", "too many files")])

    def header_name(self, data: bytes, start: int, end: int) -> None:
        self._header = (self._header[0] + data[start:end], self._header[1])

    def header_value(self, data: bytes, start: int, end: int) -> None:
        self._header = (self._header[0], self._header[1] + data[start:end])

    def end_header(self) -> None:
        name, value = self._header
        self._header = (b"", b"")
        if name.lower() == b"content-disposition":
            self._name = parse_options_header(value)[1].get(b"name", b"")

    def content(self, data: bytes, start: int, end: int) -> None:
        self._pieces.append(data[start:end])

    def end(self) -> None:
        if self._name == b"file":
            self._files.append(b"".join(self._pieces))
        elif len(self._faults) < MOST_FILES:
            name = self._name.decode(errors="replace")
            self._faults.append(Fault(f"/{name}", "unknown part; images go into parts named file", "unknown_field"))

    def finish(self) -> None:
        self.finished = True

    def checked(self) -> Sequence[bytes]:
        if not self._files:
            self._faults.append(Fault("/file", "at least one part named file is needed", "required"))
        if self._faults:
            raise InvalidInput(f"the body cannot be used: {self._faults[0].detail}", self._faults)
        return self._files
