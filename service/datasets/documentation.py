"""What OpenAPI says of the body that uploads come in."""

from __future__ import annotations

from typing import Any

from service.datasets.schemas import BuiltinRequest, UploadForm
from service.documentation import body_schema

_FORM = UploadForm.model_json_schema()

UPLOAD_BODY: dict[str, Any] = body_schema(BuiltinRequest)
UPLOAD_BODY["requestBody"]["content"]["multipart/form-data"] = {
    "schema": {
        "type": "object",
        "required": ["name", "file"],
        "properties": {
            **_FORM["properties"],
            "file": {
                "description": "zip or tar with one folder for each class, npz in Keras layout, TFRecord (several files "
                "are its shards), or an original CIFAR archive",
                "type": "string",
                "format": "binary",
            },
        },
    }
}
