"""Which models predictions use: follows the database, loads versions when they are asked for, and swaps better ones in.

Requests read an immutable picture of what is served, which is replaced in one assignment: each sees one version whole,
and none waits for another version to load. A version that follows a loaded one is loaded and warmed before it takes over.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import structlog
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from core.database import Database
from core.errors import ArtifactCorrupt, ArtifactStoreFailed, Fault, InvalidQuery, ModelNotFound, NoModel
from core.repositories.models import ServableVersion, get_version, list_best
from service.predictions.loading import Loader
from service.predictions.predictor import Predictor
from service.predictions.query import PredictQuery
from service.predictions.residents import Residents
from service.predictions.served import BEST, Listed, Model, Served, Unloadable

log = structlog.get_logger("kerasd.predict")

POLL_SECONDS = 0.5
RETRY_SECONDS = 5.0
"""between tries to load a version that could not be loaded"""

STAND_INS = 5
"""earlier versions that are tried in place of a best one that cannot be loaded"""

LOADS_AT_ONCE = 2

Key = tuple[str, int]
"""a model's name and version"""


class Catalogue:
    """The models of one tenant. To be used from one event loop: whatever it remembers is changed there."""

    def __init__(self, database: Database, loader: Loader, tenant: str, memory_bytes: int) -> None:
        """`memory_bytes`: what all loaded versions may take together; one alone may take more."""
        self._database = database
        self._loader = loader
        self._tenant = tenant
        self._served = Served()
        self._loaded = Residents(memory_bytes)
        self._loading: dict[Key, asyncio.Task[Predictor]] = {}
        self._settling: dict[str, asyncio.Task[Predictor | None]] = {}
        self._failed: dict[Key, float] = {}
        self._refreshing = asyncio.Lock()
        self._refreshed = float("-inf")
        self._trouble: DBAPIError | PoolTimeout | None = None
        self._follower = ThreadPoolExecutor(1, "catalogue")
        self._loads = ThreadPoolExecutor(LOADS_AT_ONCE, "load-models")
        self._polling: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begins to follow the database; returns at once."""
        self._polling = asyncio.create_task(self._poll())

    async def stop(self) -> None:
        """Returns when no thread uses the database any more."""
        tasks = [
            task for task in (self._polling, *self._settling.values(), *self._loading.values()) if task is not None
        ]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for executor in (self._follower, self._loads):
            await asyncio.to_thread(executor.shutdown)

    def loaded(self) -> Sequence[Predictor]:
        """What is in memory, the most recently used last."""
        return self._loaded.all()

    def served(self) -> Mapping[str, Model]:
        """What answers for each model at this moment, or would be loaded, or why it cannot be."""
        return self._served.models

    async def resolve(self, architecture: str, query: PredictQuery) -> Predictor:
        """The predictor that a request means, loaded if it was not.

        Raises NoModel, DatasetRequired, ModelNotFound, ArtifactCorrupt, InvalidQuery, and DBAPIError or
        ArtifactStoreFailed when it had to ask a database or store that is away.
        """
        if query.version is not None:
            return await self._numbered(architecture, query.dataset, query.version)
        looked = False
        while True:
            model = self._served.find(architecture, query.dataset)
            if isinstance(model, Predictor):
                self._loaded.touch(model)
                return model
            if model is not None:
                predictor = await self._settle(model.servable)
                if predictor is not None and predictor.version == model.servable.row.version:
                    return predictor
            elif looked:
                raise _no_model(architecture, query.dataset)
            else:
                looked = True
                await self._look_again()

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
        key = (f"{view}.{architecture}", version)
        loaded = self._loaded.get(key)
        if loaded is not None:
            return loaded
        loading = self._loading.get(key)
        if loading is None:
            loading = self._loading[key] = asyncio.create_task(self._load_numbered(key))
            loading.add_done_callback(lambda _: self._loading.pop(key))
        return await asyncio.shield(loading)

    async def _load_numbered(self, key: Key) -> Predictor:
        servable = await asyncio.get_running_loop().run_in_executor(self._loads, self._get_version, key)
        return await self._load(servable)

    def _get_version(self, key: Key) -> ServableVersion:
        with self._database.snapshot() as session:
            return get_version(session, self._tenant, *key)

    async def _load(self, servable: ServableVersion) -> Predictor:
        """What is loaded already, or the version loaded now, in place of what was used least recently.

        Raises ArtifactCorrupt, ArtifactStoreFailed.
        """
        key = (servable.row.name, servable.row.version)
        loaded = self._loaded.get(key)
        if loaded is not None and loaded.sha256 == servable.artifact.sha256:
            return loaded
        predictor = await asyncio.get_running_loop().run_in_executor(self._loads, self._loader.load, servable)
        milliseconds = round(predictor.seconds * 1000, 3)
        log.info(
            "model loaded",
            model=key[0],
            version=key[1],
            ms=milliseconds,
            bytes=predictor.bytes,
            device=predictor.device,
        )
        for evicted in self._loaded.add(predictor):
            log.info("model put aside for lack of memory", model=evicted.name, version=evicted.version)
            self._served = self._served.without(evicted)
        return predictor

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
                self._refreshed = time.monotonic()
                best = await asyncio.get_running_loop().run_in_executor(self._follower, self._read_database)
                if best is not None:
                    self._follow(best)

    def _read_database(self) -> Sequence[ServableVersion] | None:
        try:
            with self._database.snapshot() as session:
                best = list_best(session, self._tenant)
        except (DBAPIError, PoolTimeout) as error:
            if self._trouble is None:
                log.warning("the models cannot be listed; those loaded are served on", error=str(error))
            self._trouble = error
            return None
        self._trouble = None
        return best

    def _follow(self, best: Sequence[ServableVersion]) -> None:
        """Lists what is new, forgets what is gone, and begins to swap what is loaded and has a better version now."""
        self._served = self._served.listing(best)
        for servable in best:
            model = self._served.models[servable.row.name]
            awaited = isinstance(model, Predictor | Unloadable) and not self._is_current(model, servable)
            if awaited and not self._failed_lately(servable) and servable.row.name not in self._settling:
                self._begin_settling(servable)

    def _is_current(self, model: Predictor | Listed, servable: ServableVersion) -> bool:
        key = (servable.row.version, servable.artifact.sha256)
        return isinstance(model, Predictor) and (model.version, model.sha256) == key

    def _failed_lately(self, servable: ServableVersion) -> bool:
        failed = self._failed.get((servable.row.name, servable.row.version), float("-inf"))
        return time.monotonic() < failed + RETRY_SECONDS

    async def _settle(self, servable: ServableVersion) -> Predictor | None:
        """Waits until a model that is only listed is loaded, or known not to load."""
        settling = self._settling.get(servable.row.name) or self._begin_settling(servable)
        return await asyncio.shield(settling)

    def _begin_settling(self, servable: ServableVersion) -> asyncio.Task[Predictor | None]:
        name = servable.row.name
        settling = self._settling[name] = asyncio.create_task(self._swap_in(servable))
        settling.add_done_callback(lambda _: self._settling.pop(name))
        return settling

    async def _swap_in(self, servable: ServableVersion) -> Predictor | None:
        """Serves a best version; or, if it cannot be loaded, what is loaded, or an earlier one, or its error (None)."""
        row = servable.row
        key = (row.name, row.version)
        try:
            predictor = await self._load(servable)
        except Exception as error:
            if key not in self._failed:
                log.exception("a model cannot be loaded", model=row.name, version=row.version)
            self._failed[key] = time.monotonic()
            served = self._served.models.get(row.name)
            stand_in = served if isinstance(served, Predictor) else await self._stand_in(servable, error)
            self._served = self._served.replacing(stand_in)
            return stand_in if isinstance(stand_in, Predictor) else None
        self._failed.pop(key, None)
        self._served = self._served.replacing(predictor)
        return predictor

    async def _stand_in(self, servable: ServableVersion, error: Exception) -> Predictor | Unloadable:
        """The newest of the versions just before that can be loaded, or why there is none."""
        row = servable.row
        if isinstance(error, ArtifactStoreFailed):  # an earlier version would be as far away
            return Unloadable(servable, error)
        if not isinstance(error, ArtifactCorrupt):
            error = ArtifactCorrupt(f"{row.name} {row.version} cannot be loaded")
        for earlier in range(row.version - 1, max(row.version - 1 - STAND_INS, 0), -1):
            with suppress(ArtifactCorrupt, ArtifactStoreFailed, ModelNotFound, DBAPIError, PoolTimeout):
                predictor = await self._load_numbered((row.name, earlier))
                log.warning(
                    "an earlier version serves in its place", model=row.name, version=row.version, earlier=earlier
                )
                return predictor
        return Unloadable(servable, error)


def _no_model(architecture: str, view: str | None) -> NoModel:
    of = "" if architecture == BEST else f" of {architecture!r}"
    on = "" if view is None else f" on {view!r}"
    return NoModel(f"there is no model{of}{on} yet; train one with POST /api/v1/jobs")
