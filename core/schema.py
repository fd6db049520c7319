"""The base of every schema: strict types, unknown fields refused, no NaN."""

from __future__ import annotations

import ast
import inspect
import textwrap
from functools import cache
from itertools import pairwise
from typing import Any

from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema


class Schema(BaseModel):
    """The text below a field describes it in the JSON schema.

    It is read from the source when somebody asks for that. Pydantic's own `use_attribute_docstrings` reads it as each
    class is made, for which the start of the API would have to wait.
    """

    # Validators are built at their first use: to build all of them takes a twelfth of the API's start.
    model_config = ConfigDict(
        defer_build=True, extra="forbid", strict=True, frozen=True, allow_inf_nan=False, validate_default=True
    )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        result = handler(schema)
        properties = handler.resolve_ref_schema(result).get("properties", {})
        docstrings = _field_docstrings(cls)
        for name, field in cls.model_fields.items():
            described = properties.get(field.alias or name)
            if described is not None and name in docstrings:
                described.setdefault("description", docstrings[name])
        return result


@cache
def _field_docstrings(cls: type[Schema]) -> dict[str, str]:
    """By field, with those of the classes that it derives from."""
    found: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        if issubclass(base, Schema):
            found.update(_own_docstrings(base))
    return found


def _own_docstrings(cls: type[Any]) -> dict[str, str]:
    (statement,) = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
    body = statement.body if isinstance(statement, ast.ClassDef) else []
    found: dict[str, str] = {}
    for field, text in pairwise(body):
        match field, text:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(docstring))):
                found[name] = inspect.cleandoc(docstring)
    return found
