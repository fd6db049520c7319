"""The predict endpoint's OpenAPI path item: it is served outside FastAPI, so it is described here by hand."""

from __future__ import annotations

from typing import Any

_PROBLEM: dict[str, Any] = {
    "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}},
}

_LABELLED: dict[str, Any] = {
    "label": {"type": "string"},
    "probability": {"type": "number", "minimum": 0, "maximum": 1},
}

_ANSWER: dict[str, Any] = {
    "type": "object",
    "required": ["model", "predictions"],
    "properties": {
        "model": {
            "type": "object",
            "description": "the one version that every prediction of this answer comes from",
            "properties": {
                "name": {"type": "string"},
                "version": {"type": "integer"},
                "job": {"type": "string"},
            },
        },
        "predictions": {
            "type": "array",
            "description": "one for each image, in order",
            "items": {
                "type": "object",
                "properties": {
                    **_LABELLED,
                    "top": {"type": "array", "items": {"type": "object", "properties": _LABELLED}},
                },
            },
        },
    },
}

_IMAGE: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}

BODY: dict[str, Any] = {
    "required": True,
    "content": {
        "image/png": _IMAGE,
        "image/jpeg": _IMAGE,
        "image/webp": _IMAGE,
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "properties": {"file": {"type": "array", "items": {"type": "string", "format": "binary"}}},
            }
        },
        "application/json": {
            "schema": {
                "type": "object",
                "required": ["instances"],
                "properties": {
                    "instances": {
                        "type": "array",
                        "description": "pixels 0-255, images x height x width x channels; resized as in training",
                        "items": {},
                    }
                },
            }
        },
    },
}


def _query(name: str, kind: str, description: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "schema": {"type": kind}, "description": description}


def _problem(description: str) -> dict[str, Any]:
    return {"description": description, "content": _PROBLEM}


PATHS: dict[str, Any] = {
    "/api/v1/predict/{architecture}": {
        "post": {
            "tags": ["predictions"],
            "summary": "Classify images",
            "description": "Answers from the best published version, or the one named. `architecture` may be `best`.",
            "operationId": "predict",
            "parameters": [
                {"name": "architecture", "in": "path", "required": True, "schema": {"type": "string"}},
                _query("dataset", "string", "a view's name; needed where several have this architecture"),
                _query("version", "integer", "a version instead of the best"),
                _query("top", "integer", "how many labels to name for each image; default 5"),
            ],
            "requestBody": BODY,
            "responses": {
                "200": {
                    "description": "labels with probabilities",
                    "content": {"application/json": {"schema": _ANSWER}},
                },
                "400": _problem("`malformed_json`, `malformed_multipart`, `malformed_encoding`"),
                "404": _problem("`no_model`, `model_not_found`"),
                "408": _problem("`request_timeout`: the body did not arrive in time"),
                "409": _problem("`dataset_required`: several views have this architecture; lists them"),
                "413": _problem("`body_too_large`"),
                "415": _problem("`unsupported_media_type`, `unsupported_content_encoding`"),
                "422": _problem("`invalid_image`, `invalid_input`, `invalid_query`"),
                "429": _problem(
                    "`queue_full`: too many images wait for this network; Retry-After says when to try again"
                ),
                "503": _problem("`artifact_corrupt`, `database_unavailable`, `database_busy`, `overloaded`"),
            },
        }
    }
}
