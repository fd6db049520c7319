"""The usual way to serve a Keras network: FastAPI, a Pydantic body and model.predict. Also endpoints that do nothing.

Usage: python usual_server.py PORT usual|empty|bare
"""

from __future__ import annotations

import sys
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from pydantic import BaseModel

CLASSES = 10
SHAPE = (32, 32, 3)


class Body(BaseModel):
    instances: list[list[list[list[float]]]]


def usual_app() -> FastAPI:
    import numpy as np

    from core.recipes import network_layers
    from core.recipes.lenet import LeNetOptions
    from worker.network import build_network

    network = build_network(network_layers(LeNetOptions(), CLASSES), SHAPE)
    network.predict(np.zeros((1, *SHAPE), np.float32), verbose=0)
    app = FastAPI()

    @app.post("/predict")
    def predict(body: Body) -> dict[str, Any]:
        return {"predictions": network.predict(np.array(body.instances, np.float32), verbose=0).tolist()}

    return app


def empty_app() -> Any:
    """A FastAPI route that reads the body: the ceiling for whoever writes one."""
    app = FastAPI()

    @app.post("/predict")
    async def predict(request: Request) -> dict[str, Any]:
        await request.body()
        return {}

    return app


def bare_app() -> Any:
    """The same without a framework: the ceiling of the HTTP server."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        while (await receive()).get("more_body"):
            pass
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"{}"})

    return app


if __name__ == "__main__":
    port, kind = int(sys.argv[1]), sys.argv[2]
    application = {"usual": usual_app, "empty": empty_app, "bare": bare_app}[kind]()
    uvicorn.run(application, port=port, log_level="warning", lifespan="off" if kind == "bare" else "auto")
