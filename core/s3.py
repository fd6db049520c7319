"""S3 for the artifact store: waits for a server that is away, and tells its troubles in our words.

Imported only where artifacts lie on S3: it takes a second.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
from botocore import exceptions as boto
from botocore.parsers import ResponseParserError
from fsspec.asyn import sync_wrapper
from s3fs import S3FileSystem

from core.artifacts import BLOCK_BYTES
from core.errors import ArtifactStoreAway, ArtifactStoreFailed, ArtifactStoreRefused

CONNECT_SECONDS = 5.0
READ_SECONDS = 10.0
REQUEST_SECONDS = 60.0
"""for sending one part and hearing of it"""
PAUSE_SECONDS = 0.5
CONCURRENCY = 4
"""parts of one file that are fetched at once"""

_AWAY = (
    boto.ConnectionError,
    boto.HTTPClientError,
    boto.IncompleteReadError,
    ResponseParserError,
    aiohttp.ClientError,
    TimeoutError,
)
_BUSY = frozenset({"SlowDown", "RequestTimeout", "Throttling", "OperationAborted", "NoSuchUpload"})
_ABSENT = frozenset({"NoSuchKey", "404", "InvalidRange", "416"})
"""Codes that say something of the file and nothing of the server."""


class S3Files(S3FileSystem):  # type: ignore[misc]
    """An fsspec file system whose every request is repeated for up to `patience` seconds while the server is away.

    Raises ArtifactStoreAway after that, and ArtifactStoreRefused at once. Once it has given up, it tries each request once
    until the server answers again: what comes after a failure would else wait as long, one request after the other.
    """

    cachable = False  # each store has its own connections and patience
    retries = 1
    """tries of s3fs itself: it would repeat without looking at the time"""

    def __init__(self, *, patience: float, **options: Any) -> None:
        config = {
            "connect_timeout": CONNECT_SECONDS,
            "read_timeout": READ_SECONDS,
            "retries": {"total_max_attempts": 1},
        }
        super().__init__(
            config_kwargs=config,
            default_block_size=BLOCK_BYTES,
            max_concurrency=CONCURRENCY,
            use_listings_cache=False,  # others write there too
            **options,
        )
        self._patience = patience
        self._gave_up = False

    def make_bucket(self, root: str) -> None:
        """The bucket of `root`, unless it is there."""
        bucket = self.split_path(f"{root}/")[0]
        try:
            self.call_s3("head_bucket", Bucket=bucket)
        except FileNotFoundError:
            self.mkdir(bucket)  # knows what each region wants to be told

    def drop_unfinished(self, root: str, older_than_seconds: float) -> int:
        """Ends uploads below `root` that were begun so long ago and never finished. Returns how many."""
        bucket, prefix, _ = self.split_path(f"{root}/")
        found = self.call_s3("list_multipart_uploads", Bucket=bucket, Prefix=prefix).get("Uploads", [])
        old = [upload for upload in found if time.time() - upload["Initiated"].timestamp() > older_than_seconds]
        for upload in old:
            self.abort_mpu(bucket, upload["Key"], upload["UploadId"])
        return len(old)

    # What s3fs does with a server goes through these.

    async def _call_s3(self, *args: Any, **kwargs: Any) -> Any:
        return await self._patiently(self._request, *args, **kwargs)

    call_s3 = sync_wrapper(_call_s3)

    async def _request(self, *args: Any, **kwargs: Any) -> Any:
        # READ_SECONDS are for answers; nothing else ends the sending of a body to a server that does not read it.
        async with asyncio.timeout(REQUEST_SECONDS):
            return await super()._call_s3(*args, **kwargs)

    async def _lsdir(self, *args: Any, **kwargs: Any) -> Any:
        return await self._patiently(super()._lsdir, *args, **kwargs)

    async def _cat_file(self, *args: Any, **kwargs: Any) -> Any:
        return await self._patiently(super()._cat_file, *args, **kwargs)

    async def _get_file(self, *args: Any, **kwargs: Any) -> Any:
        return await self._patiently(super()._get_file, *args, **kwargs)

    async def _patiently(self, call: Callable[..., Awaitable[Any]], *args: Any, **kwargs: Any) -> Any:
        deadline = time.monotonic() + self._patience
        while True:
            try:
                answer = await call(*args, **kwargs)
            except (boto.BotoCoreError, ResponseParserError, aiohttp.ClientError, OSError) as error:
                trouble = trouble_of(error)
                away = isinstance(trouble, ArtifactStoreAway)
                self._gave_up = away and (self._gave_up or time.monotonic() > deadline)
                if trouble is None:
                    raise
                if self._gave_up or not away:
                    raise trouble from error
            else:
                self._gave_up = False
                return answer
            await asyncio.sleep(PAUSE_SECONDS)


def trouble_of(error: Exception) -> ArtifactStoreFailed | None:
    """What an error of s3fs says of the server; None for one about the file, or about this machine."""
    if isinstance(error, _AWAY):
        return ArtifactStoreAway(_told("does not answer", error))
    if isinstance(error, boto.BotoCoreError):
        return ArtifactStoreRefused(_told("cannot be used", error))
    response = getattr(error.__cause__, "response", None)
    if response is None:
        return None
    code = str(response["Error"].get("Code"))
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if code in _BUSY or status >= 500:
        return ArtifactStoreAway(_told("is busy", error))
    if code in _ABSENT:
        return None
    return ArtifactStoreRefused(_told("refuses", error))


def _told(what: str, error: Exception) -> str:
    reason = str(error).strip() or type(error).__name__
    return f"the artifact store {what}: {reason} (see KERASD_ARTIFACTS_URL and kerasd doctor)"
