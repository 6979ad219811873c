"""The few messages of Terraform's plugin protocol 5 that a provider needs to be validated and planned against.

Field numbers are the protocol's; names are ours. What is not read here is not declared: protobuf skips it.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_Field = descriptor_pb2.FieldDescriptorProto
STRING, BYTES, BOOL, INT = _Field.TYPE_STRING, _Field.TYPE_BYTES, _Field.TYPE_BOOL, _Field.TYPE_INT64
MESSAGES: dict[str, dict[str, tuple[int, int | str]]] = {
    "Empty": {},
    "Value": {"msgpack": (1, BYTES)},
    "Attribute": {
        "name": (1, STRING),
        "type": (2, BYTES),
        "required": (4, BOOL),
        "optional": (5, BOOL),
        "computed": (6, BOOL),
    },
    "NestedBlock": {
        "type_name": (1, STRING),
        "block": (2, "Block"),
        "nesting": (3, INT),
        "min_items": (4, INT),
        "max_items": (5, INT),
    },
    "Block": {"attributes": (2, "Attribute*"), "block_types": (3, "NestedBlock*")},
    "Schema": {"version": (1, INT), "block": (2, "Block")},
    "Entry": {"key": (1, STRING), "value": (2, "Schema")},  # what a map's entry is on the wire
    "Schemas": {"provider": (1, "Schema"), "resources": (2, "Entry*"), "data": (3, "Entry*")},
    "Config": {"config": (1, "Value")},
    "PlanRequest": {"type_name": (1, STRING), "proposed": (3, "Value")},
    "PlanResponse": {"planned": (1, "Value"), "legacy_types": (5, BOOL)},
    "ReadRequest": {"type_name": (1, STRING), "config": (2, "Value")},
    "ReadResponse": {"state": (1, "Value")},
}


def _pool() -> descriptor_pool.DescriptorPool:
    file = descriptor_pb2.FileDescriptorProto(name="standin.proto", package="standin", syntax="proto3")
    for name, fields in MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, (number, kind) in fields.items():
            many = isinstance(kind, str) and kind.endswith("*")
            label = _Field.LABEL_REPEATED if many else _Field.LABEL_OPTIONAL
            entry = message.field.add(name=field, number=number, label=label)
            if isinstance(kind, str):
                entry.type, entry.type_name = _Field.TYPE_MESSAGE, f".standin.{kind.rstrip('*')}"
            else:
                entry.type = kind
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return pool


def messages() -> dict[str, Any]:
    """Message classes by name."""
    pool = _pool()
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"standin.{name}"))
        for name in MESSAGES
    }
