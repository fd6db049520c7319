"""All settings, read in this one place from KERASD_* environment variables, and from files for secrets.

Artifacts on S3: KERASD_ARTIFACTS_URL=s3://bucket/prefix. The server's address, region and credentials are the `s3_*`
settings, as variables or secret files; each that is not set is taken from where AWS's own tools take it: AWS_ENDPOINT_URL_S3,
AWS_REGION, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, ~/.aws, or the machine's role.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from functools import cached_property
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SecretsSettingsSource,
    SettingsConfigDict,
)

from core.queues import Queue

UNIX_SOCKET_PATH_LIMIT = 100
"""sun_path holds 108 bytes on Linux and 104 on macOS, the terminator included."""

SECRETS_DIR = Path("/run/secrets")
"""Containers find secrets here: the file `kerasd_database_url` holds what KERASD_DATABASE_URL would."""


def _listed(value: object) -> object:
    """`cpu,gpu` as a tuple."""
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


AbsolutePath = Annotated[Path, AfterValidator(lambda path: path.expanduser().absolute())]


class Settings(BaseSettings):
    """Where kerasd keeps its state and which servers it uses. The defaults are the embedded set-up."""

    model_config = SettingsConfigDict(env_prefix="KERASD_", frozen=True, extra="ignore")

    data_dir: AbsolutePath = Field(
        Path("kerasd-data"), validate_default=True, description="database, artifacts, broker, downloads"
    )
    database_url: str | None = Field(None, description="SQLAlchemy URL; default: SQLite in the data folder")
    broker_url: str | None = Field(None, description="Redis URL; default: the embedded Valkey")
    artifacts_url: str | None = Field(
        None, description="a folder, or s3://bucket/prefix; default: a folder in the data folder"
    )
    s3_endpoint: str | None = Field(
        None, pattern="^https?://", description="address of an S3 server other than AWS's own"
    )
    s3_region: str | None = Field(None, description="region of the bucket")
    s3_access_key_id: str | None = Field(None, description="access key of the S3 server")
    s3_secret_access_key: SecretStr | None = Field(None, description="its secret")
    host: str = Field("127.0.0.1", description="address that the API listens on")
    port: int = Field(8000, ge=0, le=65535, description="port that the API listens on; 0: any free one")
    dataset_files: dict[str, AbsolutePath] = Field(
        {}, description='local files of built-in datasets, as JSON: {"mnist": "/data/mnist.npz"}'
    )
    weights_files: dict[str, AbsolutePath] = Field(
        {}, description='local files of ImageNet weights, as JSON: {"vgg16": "/data/vgg16_weights_….h5"}'
    )
    offline: bool = Field(False, description="never try to download a dataset or weights")
    max_body_bytes: int = Field(1 << 20, ge=1024, description="limit of a control-plane request body")
    max_predict_bytes: int = Field(16 << 20, ge=1024, description="limit of a predict request body")
    max_upload_bytes: int = Field(16 << 30, ge=1024, description="limit of one dataset upload")
    max_expanded_bytes: int = Field(64 << 30, ge=1024, description="limit of an uploaded archive after decompression")
    max_dataset_images: int = Field(2_000_000, ge=2, description="most images of one dataset")
    stored_side: int = Field(
        512, ge=32, le=4096, description="longest side in pixels of stored images; larger ones are reduced at import"
    )
    import_memory_bytes: int = Field(
        2 << 30, ge=256 << 20, description="address space of the process that reads uploaded files"
    )
    cache_pixel_bytes: int = Field(
        256 << 20, ge=0, description="training images that a trainer keeps in memory; more are read as needed"
    )
    max_image_pixels: int = Field(50_000_000, ge=1, description="most pixels an image may have")
    model_memory_bytes: int = Field(
        1 << 30, ge=0, description="memory of the models that an API process keeps loaded, about"
    )
    predict_threads: int | None = Field(
        None, ge=1, le=1024, description="cores that an API process predicts with; default: all"
    )
    max_batch: int = Field(64, ge=1, le=1024, description="images that a network runs at once, at most; 1: no batching")
    queues: Annotated[tuple[Queue, ...] | None, NoDecode, BeforeValidator(_listed)] = Field(
        None,
        min_length=1,
        description="what a worker serves: cpu, gpu or both; default: gpu where there is one, and cpu",
    )
    slots: int | None = Field(
        None,
        ge=1,
        le=256,
        description="jobs that a worker trains side by side on its CPU; default: by cores and memory",
    )
    threads: int | None = Field(
        None, ge=1, le=1024, description="threads that a worker divides among its trainers; default: one a core"
    )
    poll_seconds: float = Field(2.0, gt=0, description="how often a worker looks for work without a wake-up")
    stall_seconds: float = Field(
        900.0,
        gt=0,
        description="a trainer that neither progresses nor prints, or a task that does not progress, for so long is ended",
    )
    standby: bool = Field(True, description="keep one trainer with TensorFlow imported ready")
    log_format: str = Field("console", pattern="^(console|json)$", description="console or json")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments win over the environment, and that over secret files, which most machines do not have."""
        has_secrets = os.access(SECRETS_DIR, os.R_OK | os.X_OK)
        secrets = (SecretsSettingsSource(settings_cls, SECRETS_DIR),) if has_secrets else ()
        return (init_settings, env_settings, *secrets)

    @cached_property
    def database(self) -> str:
        return self.database_url or f"sqlite:///{self.data_dir / 'kerasd.sqlite3'}"

    @cached_property
    def broker(self) -> str:
        return self.broker_url or f"redis+socket://{self.broker_socket}"

    @cached_property
    def broker_socket(self) -> Path:
        """The embedded Valkey's unix socket: in the data folder unless its path would be too long."""
        path = self.data_dir / "broker" / "valkey.sock"
        if len(str(path).encode()) <= UNIX_SOCKET_PATH_LIMIT:
            return path
        name = hashlib.sha256(str(self.data_dir).encode()).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"kerasd-{name}" / "valkey.sock"

    @cached_property
    def artifacts(self) -> str:
        return self.artifacts_url or str(self.data_dir / "artifacts")

    @cached_property
    def scratch(self) -> Path:
        return self.data_dir / "tmp"

    @cached_property
    def cache(self) -> Path:
        return self.data_dir / "cache"

    @cached_property
    def downloads(self) -> Path:
        return self.data_dir / "downloads"
