"""Showing URLs without their secrets."""

from __future__ import annotations

import re

_PASSWORD = re.compile(r"(?P<start>\w[\w+.-]*://[^/?#@\s]*?:)[^/?#\s]*(?=@)")
_PARAMETER = re.compile(
    r"(?P<start>[?&][^=&#\s]*(?:pass|pwd|secret|token|key|credential)[^=&#\s]*=)[^&#\s]*", re.IGNORECASE
)

HIDDEN = "***"


def masked(text: str) -> str:
    """The text with the passwords of its URLs, and their parameters that sound secret, replaced by stars."""
    return _PARAMETER.sub(rf"\g<start>{HIDDEN}", _PASSWORD.sub(rf"\g<start>{HIDDEN}", text))
