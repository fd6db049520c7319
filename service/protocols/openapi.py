"""OpenAPI path items of both protocols: they are served outside FastAPI, so they are described here by hand."""

from __future__ import annotations

from typing import Any

_ERROR: dict[str, Any] = {
    "application/json": {
        "schema": {"type": "object", "required": ["error"], "properties": {"error": {"type": "string"}}}
    },
}

_MODEL = {
    "name": "model",
    "in": "path",
    "required": True,
    "schema": {"type": "string"},
    "description": "`<view>.<architecture>`; the architecture alone, or `best`, where one view has it",
}
_VERSION = {"name": "version", "in": "path", "required": True, "schema": {"type": "integer", "minimum": 1}}
_LABEL = {"name": "label", "in": "path", "required": True, "schema": {"type": "string", "enum": ["best"]}}

_PICTURES = (
    "Pixels are 0-255, images x height x width x channels; images of any size are resized as in training. "
    "An encoded PNG, JPEG or WebP may stand in place of an image."
)
_ENCODINGS = "Bodies may come with Content-Encoding gzip or deflate; answers follow Accept-Encoding."


def _body(description: str, **properties: Any) -> dict[str, Any]:
    schema = {"type": "object", "description": description, "properties": properties}
    return {"required": True, "content": {"application/json": {"schema": schema}}}


_PREDICT_BODY = _body(
    'Either row format (`instances`) or column format (`inputs`). An encoded image is `{"b64": "..."}`.',
    instances={"type": "array", "description": "images, or objects that name the input `pixels`", "items": {}},
    inputs={"description": "images, or an object that names the input `pixels`"},
    signature_name={"type": "string", "enum": ["serving_default"]},
)

_PREDICTED: dict[str, Any] = {
    "type": "object",
    "properties": {
        "predictions": {
            "type": "array",
            "description": "row format: logits and probabilities of each image",
            "items": {
                "type": "object",
                "properties": {
                    name: {"type": "array", "items": {"type": "number"}} for name in ("logits", "probabilities")
                },
            },
        },
        "outputs": {"type": "object", "description": "column format: logits and probabilities of all images"},
    },
}

_TENSOR: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "shape": {"type": "array", "items": {"type": "integer"}},
        "datatype": {"type": "string"},
        "parameters": {"type": "object"},
        "data": {"type": "array", "items": {}},
    },
}

_INFER_BODY = _body(
    "One input, `pixels`, of any numeric datatype, or BYTES: a file for each image, in base64 where it is in JSON.",
    id={"type": "string"},
    parameters={"type": "object"},
    inputs={"type": "array", "items": _TENSOR},
    outputs={"type": "array", "items": {"type": "object"}, "description": "of `logits` and `probabilities`"},
)
_INFER_BODY["content"]["application/octet-stream"] = {"schema": {"type": "string", "format": "binary"}}

_INFERRED: dict[str, Any] = {
    "type": "object",
    "properties": {
        "model_name": {"type": "string"},
        "model_version": {"type": "string"},
        "id": {"type": "string"},
        "outputs": {"type": "array", "items": _TENSOR},
    },
}

_DOCUMENT = {"type": "object"}
_LIST = {"type": "array", "items": _DOCUMENT}


def _operation(tag: str, summary: str, description: str = "", answer: Any = _DOCUMENT, body: Any = None) -> Any:
    refused = {"description": "the request cannot be served as it is", "content": _ERROR}
    away = {"description": "the service cannot answer now", "content": _ERROR}
    content = {"application/json": {"schema": answer}}
    operation = {
        "tags": [tag],
        "summary": summary,
        "description": description,
        "responses": {"200": {"description": summary, "content": content}, "4XX": refused, "5XX": away},
    }
    return operation if body is None else {**operation, "requestBody": body}


def _tensorflow(summary: str, description: str = "") -> Any:
    return {"get": _operation("TensorFlow Serving", summary, description)}


def _predict() -> Any:
    description = f"{_PICTURES} {_ENCODINGS}"
    return {"post": _operation("TensorFlow Serving", "Predict", description, _PREDICTED, _PREDICT_BODY)}


def _open(summary: str, description: str = "") -> Any:
    return {"get": _operation("Open Inference Protocol", summary, description)}


def _infer() -> Any:
    description = (
        f"{_PICTURES} Tensors may follow the JSON as raw bytes, little-endian, in the order of the inputs: the header "
        f"`Inference-Header-Content-Length` tells the JSON's length, `binary_data_size` each tensor's. {_ENCODINGS}"
    )
    return {"post": _operation("Open Inference Protocol", "Infer", description, _INFERRED, _INFER_BODY)}


def _of_model(prefix: str, suffixes: dict[str, Any], *, labels: bool) -> dict[str, Any]:
    """The paths below a model, with and without a version."""
    places = {"": [_MODEL], "/versions/{version}": [_MODEL, _VERSION]}
    if labels:
        places["/labels/{label}"] = [_MODEL, _LABEL]
    return {
        f"{prefix}/{{model}}{place}{suffix}": {"parameters": parameters, **item}
        for place, parameters in places.items()
        for suffix, item in suffixes.items()
    }


PATHS: dict[str, Any] = {
    "/v1/models": _tensorflow("Names of all models"),
    **_of_model(
        "/v1/models",
        {
            "": _tensorflow("Status of a model's versions", "The best version is loaded, so that the answer is true."),
            "/metadata": _tensorflow("Signature of a model"),
            ":predict": _predict(),
        },
        labels=True,
    ),
    "/v2": _open("Name, version and extensions of the server"),
    "/v2/health/live": _open("Whether the server runs"),
    "/v2/health/ready": _open("Whether the server can take requests"),
    **_of_model(
        "/v2/models",
        {
            "": _open("Inputs, outputs and versions of a model"),
            "/ready": _open("Whether a model can be asked", "It is loaded, so that the answer is true."),
            "/config": _open("Configuration of a model, with its labels"),
            "/stats": _open("What this process has run of a model"),
            "/infer": _infer(),
        },
        labels=False,
    ),
    "/v2/models/stats": _open("What this process has run of all models"),
    "/v2/repository/index": {
        "post": _operation(
            "Open Inference Protocol",
            "All versions of all models",
            answer=_LIST,
            body={**_body("", ready={"type": "boolean", "description": "leave out what is not"}), "required": False},
        )
    },
}
