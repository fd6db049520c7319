"""Explains one image at a time, on a thread of its own: an explanation costs as much as hundreds of predictions."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus

import numpy as np
from numpy.typing import NDArray
from starlette.types import Receive

from core.database import Database
from core.errors import Fault, InvalidInput, InvalidQuery
from core.inference import Floats, softmax
from core.repositories.models import get_version
from service.explanations.gradients import GradientNetwork, NotCoveredError
from service.explanations.occlusion import occlusion_heat
from service.predictions.files import ModelFiles
from service.predictions.intake import Intake
from service.predictions.pictures import contents_of, medium_of
from service.predictions.predictor import Predictor
from service.problems import HttpError
from service.raw import Request

MOST_WAITING = 8
"""requests, the one under way included; what comes on top is refused for now"""

KEPT_NETWORKS = 2
"""with gradients, loaded beside their predictors"""

LARGEST_BYTES = 128 << 20
"""of a file that is loaded a second time for its gradients, which takes four times as much for a moment"""


class Method(StrEnum):
    """How to find out; `auto` takes Grad-CAM where the network allows it."""

    AUTO = "auto"
    GRAD_CAM = "grad_cam"
    OCCLUSION = "occlusion"


@dataclass(frozen=True)
class Explanation:
    """Why `predictor` finds `label` in an image."""

    predictor: Predictor
    label: str
    probability: float
    method: Method
    image: NDArray[np.uint8]
    """as the network sees it, (height, width, channels)"""
    heat: Floats
    """(height, width), which sums to 1; all 0 where nothing speaks for the label"""


class Explainer:
    """To be used from one event loop."""

    def __init__(self, database: Database, files: ModelFiles, tenant: str, intake: Intake) -> None:
        self._database = database
        self._files = files
        self._tenant = tenant
        self._intake = intake
        self._waiting = 0
        self._thread = ThreadPoolExecutor(1, "explain")
        self._networks: OrderedDict[str, GradientNetwork | NotCoveredError] = OrderedDict()

    def close(self) -> None:
        """Waits for the explanation under way."""
        self._thread.shutdown(cancel_futures=True)

    async def explain(
        self,
        predictor: Predictor,
        label: str | None,
        method: Method,
        receive: Receive,
        request: Request,
    ) -> Explanation:
        """Of the one image in the body; `label` None means the likeliest.

        Raises what receiving and reading a body raise; InvalidInput when it holds several images; InvalidQuery for a label
        that the model does not have, or Grad-CAM where the network does not allow it; HttpError (503) when too many wait.
        """
        if label is not None and label not in predictor.labels:
            raise _refused("label", f"{predictor.name} has no label {label!r}")
        if self._waiting >= MOST_WAITING:
            detail = "too many explanations wait already; try again"
            raise HttpError(HTTPStatus.SERVICE_UNAVAILABLE, "overloaded", detail)
        self._waiting += 1
        try:
            body = await self._intake.receive(receive, request)
            loop = asyncio.get_running_loop()
            try:
                return await loop.run_in_executor(
                    self._thread, self._explain, predictor, label, method, body, request.content_type
                )
            finally:
                self._intake.release(body)
        finally:
            self._waiting -= 1

    def _explain(
        self, predictor: Predictor, label: str | None, method: Method, body: bytes, content_type: bytes
    ) -> Explanation:
        image = self._image(predictor, body, content_type)
        probabilities = softmax(predictor.score(image[None]).logits)[0]
        number = int(probabilities.argmax()) if label is None else predictor.labels.index(label)
        heat, used = self._heat(predictor, image, number, method)
        total = float(heat.sum(dtype=np.float64))
        return Explanation(
            predictor,
            predictor.labels[number],
            float(probabilities[number]),
            used,
            np.clip(np.rint(image), 0, 255).astype(np.uint8),
            heat / total if total > 0 else np.zeros_like(heat),
        )

    def _image(self, predictor: Predictor, body: bytes, content_type: bytes) -> NDArray[np.generic]:
        fit = (*predictor.input_shape, predictor.reduced_to)
        contents = contents_of(medium_of(content_type, body), body, content_type, fit, self._intake.max_pixels)
        if contents.images != 1:
            detail = f"one image is explained at a time; the body holds {contents.images}"
            raise InvalidInput(detail, [Fault("", detail)])
        return next(contents.pictures)

    def _heat(
        self, predictor: Predictor, image: NDArray[np.generic], label: int, method: Method
    ) -> tuple[Floats, Method]:
        """(height, width), not normalised, and how it was found."""
        if method is not Method.OCCLUSION:
            network = self._gradients(predictor)
            if isinstance(network, GradientNetwork):
                heat = network.heat(image[None].astype(np.float32), label)
                if method is Method.GRAD_CAM or np.any(heat):
                    return heat, Method.GRAD_CAM
            elif method is Method.GRAD_CAM:
                raise _refused("method", f"{predictor.name} {predictor.version} does not allow Grad-CAM: {network}")
        score = lambda pixels: predictor.score(pixels).logits  # noqa: E731
        return occlusion_heat(score, image, label, predictor.batch, predictor.seconds), Method.OCCLUSION

    def _gradients(self, predictor: Predictor) -> GradientNetwork | NotCoveredError:
        """The network with gradients, or why there is none."""
        known = self._networks.get(predictor.sha256)
        if known is None:
            known = self._networks[predictor.sha256] = self._load(predictor)
        self._networks.move_to_end(predictor.sha256)
        while len(self._networks) > KEPT_NETWORKS:
            self._networks.popitem(last=False)
        return known

    def _load(self, predictor: Predictor) -> GradientNetwork | NotCoveredError:
        with self._database.snapshot() as session:
            artifact = get_version(session, self._tenant, predictor.name, predictor.version).artifact
        if artifact.bytes > LARGEST_BYTES:
            return NotCoveredError(f"its file is larger than {LARGEST_BYTES >> 20} MiB")
        content = self._files.verified(artifact).read_bytes()
        try:
            return GradientNetwork(content, predictor.input_shape, len(predictor.labels))
        except NotCoveredError as reason:
            return reason.with_traceback(None)


def _refused(parameter: str, detail: str) -> InvalidQuery:
    return InvalidQuery("the query has a fault", [Fault(f"/query/{parameter}", detail)])
