"""The API as one ASGI application: predictions by a raw application, everything else by FastAPI."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from importlib.metadata import version
from threading import Event

import structlog
from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from core.artifacts import open_store
from core.database import Database
from core.errors import Fault, InvalidQuery, KerasdError
from core.faults import plain
from core.settings import Settings
from core.tables import LOCAL_TENANT
from core.wakeups import WakeUps
from service.architectures.routes import router as architectures
from service.batch_predictions.routes import router as batch_predictions
from service.comparisons.routes import router as comparisons
from service.context import Context
from service.datasets.routes import router as datasets
from service.documentation import document
from service.explanations.explainer import Explainer
from service.explanations.routes import router as explanations
from service.exports.routes import router as exports
from service.jobs.move_routes import router as job_moves
from service.jobs.result_routes import router as job_results
from service.jobs.routes import router as jobs
from service.models.choice_routes import router as model_choice
from service.models.routes import router as models
from service.monitoring.control_plane import Metered
from service.monitoring.monitor import Monitor
from service.monitoring.recorder import Recorder
from service.monitoring.routes import router as monitoring
from service.operations.routes import router as operations
from service.parameters import refuse_unknown_parameters
from service.predictions.app import PredictApp
from service.predictions.catalogue import Catalogue
from service.predictions.engine import Engine
from service.predictions.files import ModelFiles
from service.predictions.intake import Intake
from service.predictions.loading import Loader
from service.predictions.openapi import PATHS as PREDICT_PATHS
from service.problems import MEDIA_TYPE, RETRY_AFTER_SECONDS, HttpError, problem
from service.protocols.open_inference import OpenInference
from service.protocols.openapi import PATHS as PROTOCOL_PATHS
from service.protocols.statistics import Statistics
from service.protocols.tensorflow_serving import TensorFlowServing
from service.protocols.versions import Published
from service.requests import Gate, HeadAsGet, RequestIds
from service.studies.result_routes import router as study_results
from service.studies.routes import router as studies

log = structlog.get_logger("kerasd.api")

PREDICT_PREFIX = "/api/v1/predict/"

CACHED_MODELS = 4
"""as many times the models that fit into memory have room in the cache on this machine"""


def create_app(settings: Settings, stopping: Event | None = None) -> ASGIApp:
    """The whole API over the configured database, broker and artifacts. `stopping` tells streams to end."""
    database = Database(settings.database)
    store = open_store(settings)
    context = Context(settings, database, WakeUps(settings.broker), store, stopping or Event())
    files = ModelFiles(store, settings.cache / "models", CACHED_MODELS * settings.model_memory_bytes)
    loader = Loader(files, settings.predict_threads, settings.max_batch)
    catalogue = Catalogue(database, loader, LOCAL_TENANT, settings.model_memory_bytes)
    statistics = Statistics()
    recorder = Recorder()
    engine = Engine(settings.max_batch, [statistics, recorder], settings.predict_threads)
    intake = Intake(settings)
    monitor = Monitor(database, LOCAL_TENANT, recorder, engine, catalogue)
    explainer = Explainer(database, files, LOCAL_TENANT, intake)
    control_plane = Metered(
        RequestIds(Gate(HeadAsGet(_control_plane(context, catalogue, engine, explainer, monitor)))),
        monitor.control_plane,
    )
    predictions = PredictApp(catalogue, engine, intake, recorder)
    published = Published(database, LOCAL_TENANT)
    tensorflow_serving = TensorFlowServing(catalogue, engine, intake, published, recorder)
    open_inference = OpenInference(catalogue, engine, intake, published, recorder, statistics)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"] if scope["type"] == "http" else ""
        if path.startswith(PREDICT_PREFIX):
            await predictions(scope, receive, send)
        elif path.startswith("/v2/") or path == "/v2":
            await open_inference(scope, receive, send)
        elif path.startswith("/v1/") or path == "/v1":
            await tensorflow_serving(scope, receive, send)
        else:
            await control_plane(scope, receive, send)

    return app


def _control_plane(
    context: Context, catalogue: Catalogue, engine: Engine, explainer: Explainer, monitor: Monitor
) -> FastAPI:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await catalogue.start()
        await monitor.reporter.start()
        yield
        await monitor.reporter.stop()
        await catalogue.stop()
        explainer.close()
        engine.close()
        context.database.close()

    app = FastAPI(
        title="kerasd",
        version=version("kerasd"),
        description="Trains and serves Keras image classifiers. Errors are RFC 9457 problems with a stable `code`.",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
        dependencies=[Depends(refuse_unknown_parameters)],
    )
    app.state.context = context
    app.state.monitor = monitor
    app.state.catalogue = catalogue
    app.state.explainer = explainer
    for router in (
        operations,  # first: FastAPI builds routes as requests pass them by, all of them before /readyz could be answered
        jobs,
        job_moves,
        job_results,
        datasets,
        models,
        model_choice,
        architectures,
        explanations,
        monitoring,
        exports,
        batch_predictions,
        studies,
        comparisons,
        study_results,
    ):
        app.include_router(router)
    document(app, {**PREDICT_PATHS, **PROTOCOL_PATHS})
    _answer_problems(app)
    return app


def _answer_problems(app: FastAPI) -> None:
    def answer(request: Request, error: Exception) -> JSONResponse:
        known = _as_known(error, request)
        status, body = problem(known, request.state.request_id)
        headers = dict(getattr(error, "headers", None) or {})  # Starlette's 405 brings Allow
        if status in (HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.REQUEST_TIMEOUT):
            headers["Connection"] = "close"  # or the rest of the body would still be read, and thrown away
        if status == HTTPStatus.SERVICE_UNAVAILABLE:
            headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
        if status == HTTPStatus.INTERNAL_SERVER_ERROR:
            log.error("unexpected error", path=request.url.path, exc_info=error)
            request.state.logged = error
        elif isinstance(error, DBAPIError | PoolTimeout):
            log.warning("database trouble", path=request.url.path, error=str(error.args[0] if error.args else error))
        return JSONResponse(body, status_code=status, headers=headers, media_type=MEDIA_TYPE)

    for kind in (KerasdError, RequestValidationError, HTTPException, DBAPIError, PoolTimeout, OSError, Exception):
        app.add_exception_handler(kind, answer)


def _as_known(error: Exception, request: Request) -> Exception:
    """FastAPI's and Starlette's own errors in our words."""
    if isinstance(error, RequestValidationError):
        faults = [Fault("/" + "/".join(map(str, entry["loc"])), plain(entry["msg"])) for entry in error.errors()]
        return InvalidQuery("the request has a fault", faults)
    if isinstance(error, HTTPException):
        status = HTTPStatus(error.status_code)
        details = {
            HTTPStatus.NOT_FOUND: f"there is nothing at {request.url.path}",
            HTTPStatus.METHOD_NOT_ALLOWED: f"{request.url.path} does not take {request.method}",
        }
        return HttpError(status, status.phrase.lower().replace(" ", "_"), details.get(status, str(error.detail)))
    return error
