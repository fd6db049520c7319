"""tf.train.Example without TensorFlow: its messages are described here and parsed by protobuf itself.

Source: tensorflow/core/example/example.proto and feature.proto.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory  # type: ignore[import-untyped]
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from worker.imports.formats.faults import rejection

_PACKAGE = ".kerasd.example."
_Field = descriptor_pb2.FieldDescriptorProto
_IMAGE, _LABEL, _TEXT = ("image/encoded", "image"), ("image/class/label", "label"), ("image/class/text", "class")


@dataclass(frozen=True)
class Example:
    """One image, as encoded, its class's number, and its class's name if that is there."""

    image: bytes
    label: int
    text: str | None


def parse_example(record: bytes, place: str) -> Example:
    """Raises Rejected when the record lacks what the schema asks for."""
    message = _EXAMPLE()
    try:
        message.ParseFromString(record)
    except DecodeError:
        raise rejection(place, "not_an_example", "the record is not a tf.train.Example") from None
    features = message.features.feature
    image = _single(features, _IMAGE, "bytes_list", place)
    label = _single(features, _LABEL, "int64_list", place)
    if image is None:
        raise rejection(place, "missing_feature", "it lacks image/encoded: one bytes value, a PNG, JPEG or WebP image")
    if label is None:
        raise rejection(place, "missing_feature", "it lacks image/class/label: one int64 value, 0 to n-1")
    return Example(image, label, _text(_single(features, _TEXT, "bytes_list", place), place))


def _single(features: Any, names: tuple[str, ...], kind: str, place: str) -> Any:
    """The one value of the first of `names` that is there, None without any."""
    name = next((name for name in names if name in features), None)
    if name is None:
        return None
    feature = features[name]
    if feature.WhichOneof("kind") != kind or len(getattr(feature, kind).value) != 1:
        raise rejection(place, "bad_feature", f"{name} must hold exactly one value in a {kind}")
    return getattr(feature, kind).value[0]


def _text(value: bytes | None, place: str) -> str | None:
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        raise rejection(place, "bad_feature", "the name of its class is not UTF-8") from None


def _field(name: str, number: int, kind: int, label: int = _Field.LABEL_OPTIONAL, **more: Any) -> Any:
    return _Field(name=name, number=number, type=kind, label=label, **more)


def _message(name: str, *fields: Any, **more: Any) -> Any:
    return descriptor_pb2.DescriptorProto(name=name, field=fields, **more)


def _list(name: str, kind: int) -> Any:
    return _message(name, _field("value", 1, kind, _Field.LABEL_REPEATED))


def _reference(name: str, number: int, target: str, label: int = _Field.LABEL_OPTIONAL, **more: Any) -> Any:
    return _field(name, number, _Field.TYPE_MESSAGE, label, type_name=_PACKAGE + target, **more)


def _describe() -> Any:
    """The class of Example messages, in a pool of its own: TensorFlow's, if loaded, is not disturbed."""
    kinds = ("bytes_list", "BytesList"), ("float_list", "FloatList"), ("int64_list", "Int64List")
    feature = [_reference(name, number, target, oneof_index=0) for number, (name, target) in enumerate(kinds, 1)]
    oneof = descriptor_pb2.OneofDescriptorProto(name="kind")
    entry = _message(
        "FeatureEntry",
        _field("key", 1, _Field.TYPE_STRING),
        _reference("value", 2, "Feature"),
        options=descriptor_pb2.MessageOptions(map_entry=True),
    )
    messages = [
        _list("BytesList", _Field.TYPE_BYTES),
        _list("FloatList", _Field.TYPE_FLOAT),
        _list("Int64List", _Field.TYPE_INT64),
        _message("Feature", *feature, oneof_decl=[oneof]),
        _message(
            "Features", _reference("feature", 1, "Features.FeatureEntry", _Field.LABEL_REPEATED), nested_type=[entry]
        ),
        _message("Example", _reference("features", 1, "Features")),
    ]
    pool = descriptor_pool.DescriptorPool()
    pool.Add(
        descriptor_pb2.FileDescriptorProto(
            name="kerasd/example.proto", package="kerasd.example", syntax="proto3", message_type=messages
        )
    )
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("kerasd.example.Example"))


_EXAMPLE = _describe()
