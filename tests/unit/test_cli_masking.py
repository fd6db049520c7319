"""Secrets in URLs stay secret."""

from __future__ import annotations

import pytest

from cli.masking import masked


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql+psycopg://me:secret@host:5432/db", "postgresql+psycopg://me:***@host:5432/db"),
        ("redis://:secret@host:6379/0", "redis://:***@host:6379/0"),
        ("rediss://me:se@cr:et@host/0", "rediss://me:***@host/0"),
        ("postgresql://host/db?user=me&password=secret", "postgresql://host/db?user=me&password=***"),
        ("s3://bucket/path?aws_secret_key=abc&region=eu", "s3://bucket/path?aws_secret_key=***&region=eu"),
        ("sqlite:////data/kerasd.sqlite3", "sqlite:////data/kerasd.sqlite3"),
        ("http://host:8000/a@b", "http://host:8000/a@b"),
        ("/plain/path", "/plain/path"),
    ],
)
def test_only_the_secret_is_replaced(url: str, shown: str) -> None:
    assert masked(url) == shown
