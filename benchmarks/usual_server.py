"""The usual way to serve a Keras network: FastAPI, a Pydantic body and model.predict. Also an endpoint that does nothing.

Usage: python usual_server.py PORT usual|empty
"""

from __future__ import annotations

import sys
from typing import Any

import uvicorn
from fastapi import FastAPI
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
    application = usual_app() if kind == "usual" else empty_app()
    uvicorn.run(application, port=port, log_level="warning", lifespan="off" if kind == "empty" else "auto")
