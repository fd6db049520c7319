"""Which models predictions use: follows the database and keeps the best versions loaded.

Requests read an immutable picture of what is served, which is replaced in one assignment: each sees one version whole,
and none waits for another version to load.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial

import structlog
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from core.artifacts import ArtifactStore
from core.database import Database
from core.errors import ArtifactCorrupt, ArtifactStoreFailed, Fault, InvalidQuery, ModelNotFound, NoModel
from core.repositories.models import ServableVersion, get_version, list_best
from service.predictions.predictor import Predictor, load_predictor
from service.predictions.query import PredictQuery
from service.predictions.served import BEST, Model, Served, Unloadable

log = structlog.get_logger("kerasd.predict")

POLL_SECONDS = 0.5
RETRY_SECONDS = 5.0
"""between tries to load a version that could not be loaded"""

STAND_INS = 5
"""earlier versions that are tried in place of a best one that cannot be loaded"""

OLD_VERSIONS = 4
"""versions asked for by number that stay loaded"""

Key = tuple[str, int]
"""a model's name and version"""


class Catalogue:
    """The served models of one tenant. To be used from one event loop."""

    def __init__(self, database: Database, store: ArtifactStore, tenant: str) -> None:
        self._database = database
        self._store = store
        self._tenant = tenant
        self._served = Served()
        self._refreshing = asyncio.Lock()
        self._refreshed = float("-inf")
        self._trouble: DBAPIError | PoolTimeout | None = None
        self._failed: dict[Key, float] = {}
        self._old: OrderedDict[Key, Predictor] = OrderedDict()
        self._loading: dict[Key, asyncio.Future[Predictor]] = {}
        self._follower = ThreadPoolExecutor(1, "catalogue")
        self._loader = ThreadPoolExecutor(1, "old-versions")
        self._polling: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begins to follow the database; returns at once."""
        self._polling = asyncio.create_task(self._poll())

    async def stop(self) -> None:
        """Returns when no thread uses the database any more."""
        if self._polling is not None:
            self._polling.cancel()
            with suppress(asyncio.CancelledError):
                await self._polling
        for executor in (self._follower, self._loader):
            await asyncio.to_thread(executor.shutdown)

    async def resolve(self, architecture: str, query: PredictQuery) -> Predictor:
        """The predictor that a request means.

        Raises NoModel, DatasetRequired, ModelNotFound, ArtifactCorrupt, InvalidQuery, and DBAPIError or
        ArtifactStoreFailed when it had to ask a database or store that is away.
        """
        if query.version is not None:
            return await self._numbered(architecture, query.dataset, query.version)
        predictor = self._served.find(architecture, query.dataset)
        if predictor is None:
            await self._look_again()
            predictor = self._served.find(architecture, query.dataset)
        if predictor is None:
            raise _no_model(architecture, query.dataset)
        return predictor

    async def _numbered(self, architecture: str, view: str | None, version: int) -> Predictor:
        if architecture == BEST:
            fault = Fault("/query/version", f"needs a named architecture, not {BEST!r}")
            raise InvalidQuery("the query has a fault", [fault])
        view = view or self._served.only_view(architecture)
        if view is None:
            await self._look_again()
            view = self._served.only_view(architecture)
        if view is None:
            raise _no_model(architecture, view)
        name = f"{view}.{architecture}"
        best = self._served.models.get(name)
        if isinstance(best, Predictor) and best.version == version:
            return best
        return await self._old_version(name, version)

    async def _old_version(self, name: str, version: int) -> Predictor:
        key = (name, version)
        loaded = self._old.get(key)
        if loaded is not None:
            self._old.move_to_end(key)
            return loaded
        loading = self._loading.get(key)
        if loading is None:
            loading = asyncio.get_running_loop().run_in_executor(self._loader, self._load_numbered, name, version)
            self._loading[key] = loading
            loading.add_done_callback(partial(self._keep, key))
        return await asyncio.shield(loading)

    def _keep(self, key: Key, loading: asyncio.Future[Predictor]) -> None:
        """Only what is loaded takes a place among the old versions: whatever failed is tried anew when asked for."""
        del self._loading[key]
        if loading.cancelled() or loading.exception() is not None:
            return
        self._old[key] = loading.result()
        if len(self._old) > OLD_VERSIONS:
            self._old.popitem(last=False)

    def _load_numbered(self, name: str, version: int) -> Predictor:
        with self._database.snapshot() as session:
            servable = get_version(session, self._tenant, name, version)
        return self._load(servable)

    def _load(self, servable: ServableVersion) -> Predictor:
        """Raises ArtifactCorrupt, also when a folder does not give the bytes; ArtifactStoreFailed."""
        try:
            return load_predictor(servable, self._store)
        except OSError as error:
            detail = f"artifact {servable.artifact.path} cannot be read: {error.strerror or error}"
            raise ArtifactCorrupt(detail) from error

    async def _poll(self) -> None:
        while True:
            try:
                await self._refresh()
            except Exception:
                log.exception("following the models failed")
            await asyncio.sleep(POLL_SECONDS)

    async def _look_again(self) -> None:
        """Reads the database once more: whoever saw a job SUCCEEDED must find its model. Misses share a reading."""
        await self._refresh(time.monotonic())
        if self._trouble is not None:
            raise self._trouble.with_traceback(None)  # raised again and again, it would collect all their lines

    async def _refresh(self, since: float = float("inf")) -> None:
        """Reads the database, unless that was begun after `since`. Only one does so at a time."""
        async with self._refreshing:
            if self._refreshed < since:
                await asyncio.get_running_loop().run_in_executor(self._follower, self._read_database)

    def _read_database(self) -> None:
        self._refreshed = time.monotonic()
        try:
            with self._database.snapshot() as session:
                best = list_best(session, self._tenant)
        except (DBAPIError, PoolTimeout) as error:
            if self._trouble is None:
                log.warning("the models cannot be listed; those loaded are served on", error=str(error))
            self._trouble = error
            return
        self._trouble = None
        self._serve(best)

    def _serve(self, best: Sequence[ServableVersion]) -> None:
        names = {servable.row.name for servable in best}
        if self._served.models.keys() - names:
            self._served = Served(model for name, model in self._served.models.items() if name in names)
        for servable in best:
            model = self._current(servable)
            if model is not self._served.models.get(servable.row.name):
                self._served = Served({**self._served.models, servable.row.name: model}.values())

    def _current(self, servable: ServableVersion) -> Model:
        """The model to serve for a best version: what is loaded already, or it, or its predecessor if it will not load."""
        row = servable.row
        loaded = self._served.models.get(row.name)
        if isinstance(loaded, Predictor) and (loaded.version, loaded.sha256) == (row.version, servable.artifact.sha256):
            return loaded
        key = (row.name, row.version)
        if loaded is not None and time.monotonic() < self._failed.get(key, float("-inf")) + RETRY_SECONDS:
            return loaded
        try:
            predictor = self._load(servable)
        except Exception as error:
            if key not in self._failed:
                log.exception("a model cannot be loaded", model=row.name, version=row.version)
            self._failed[key] = time.monotonic()
            if isinstance(loaded, Predictor):
                return loaded
            if isinstance(error, ArtifactStoreFailed):  # an earlier version would be as far away
                return Unloadable(row.name, row.view, row.architecture, error)
            if not isinstance(error, ArtifactCorrupt):
                error = ArtifactCorrupt(f"{row.name} {row.version} cannot be loaded")
            earlier = self._predecessor(row.name, row.version)
            return earlier or Unloadable(row.name, row.view, row.architecture, error)
        self._failed.pop(key, None)
        log.info("model loaded", model=row.name, version=row.version, ms=round(predictor.seconds * 1000, 3))
        return predictor

    def _predecessor(self, name: str, version: int) -> Predictor | None:
        """The newest of the versions just before that can be loaded, to stand in for one that cannot."""
        for earlier in range(version - 1, max(version - 1 - STAND_INS, 0), -1):
            with suppress(ArtifactCorrupt, ArtifactStoreFailed, ModelNotFound):
                predictor = self._load_numbered(name, earlier)
                log.warning("an earlier version serves in its place", model=name, version=version, earlier=earlier)
                return predictor
        return None


def _no_model(architecture: str, view: str | None) -> NoModel:
    of = "" if architecture == BEST else f" of {architecture!r}"
    on = "" if view is None else f" on {view!r}"
    return NoModel(f"there is no model{of}{on} yet; train one with POST /api/v1/jobs")
