"""Reading multipart/form-data part by part: what uploads and predictions share. Bodies are pushed in as they come."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from http import HTTPStatus

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from service.problems import HttpError

MOST_FILES = 1024
LONGEST_BOUNDARY = 70
"""as RFC 2046 says"""

# It writes a line of each malformed body, which the answer explains already.
logging.getLogger("python_multipart").setLevel(logging.CRITICAL)


class MultipartReader(ABC):
    """Feed it the body, then call `finish`. Both raise HttpError (400) for what is not multipart/form-data."""

    def __init__(self, content_type: bytes) -> None:
        _, options = parse_options_header(content_type)
        boundary = options.get(b"boundary", b"")
        if not 0 < len(boundary) <= LONGEST_BOUNDARY:
            raise malformed(f"the Content-Type needs a boundary of 1 to {LONGEST_BOUNDARY} characters")
        self._finished = False
        self._header: tuple[bytes, bytes] = (b"", b"")
        self._name = self._filename = ""
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin,
                "on_header_field": self._header_name,
                "on_header_value": self._header_value,
                "on_header_end": self._end_header,
                "on_headers_finished": lambda: self.begin_part(self._name, self._filename),
                "on_part_data": lambda data, start, end: self.part_data(data[start:end]),
                "on_part_end": self.end_part,
                "on_end": self._finish,
            },
        )

    def feed(self, data: bytes) -> None:
        try:
            self._parser.write(data)
        except FormParserError as error:
            raise malformed(str(error)) from None

    def finish(self) -> None:
        if not self._finished:
            raise malformed("the closing boundary is missing")

    @abstractmethod
    def begin_part(self, name: str, filename: str) -> None:
        """A part's headers are read; either name is empty where the client gave none."""

    @abstractmethod
    def part_data(self, data: bytes) -> None:
        """A piece of the part's content."""

    @abstractmethod
    def end_part(self) -> None:
        """The part is whole."""

    def _begin(self) -> None:
        self._name = self._filename = ""

    def _header_name(self, data: bytes, start: int, end: int) -> None:
        self._header = (self._header[0] + data[start:end], self._header[1])

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._header = (self._header[0], self._header[1] + data[start:end])

    def _end_header(self) -> None:
        name, value = self._header
        self._header = (b"", b"")
        if name.lower() == b"content-disposition":
            options = parse_options_header(value)[1]
            self._name = options.get(b"name", b"").decode(errors="replace")
            self._filename = options.get(b"filename", b"").decode(errors="replace")

    def _finish(self) -> None:
        self._finished = True


def malformed(detail: str) -> HttpError:
    return HttpError(HTTPStatus.BAD_REQUEST, "malformed_multipart", f"the body is not multipart/form-data: {detail}")
