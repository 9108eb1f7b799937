"""Schemas: what pydantic asks a class for, so that models can have members of that class.

Pydantic's core schemas are plain dicts, so this module needs no pydantic. The JSON schema of a
class is derived from its annotations, like everything else; see `codec`.
"""

from collections.abc import Callable
from types import NoneType
from typing import Any, Final, get_origin

from .codec import WireObject, fields_of, is_wire_class, union_members

__all__: list[str] = []

NAMES: Final[dict[object, str]] = {
    NoneType: "null",
    bool: "boolean",
    dict: "object",
    float: "number",
    int: "integer",
    list: "array",
    str: "string",
}
"""The types of JSON values by the types of Python."""


def core_schema(cls: type[WireObject], from_dict: Callable[[Any], WireObject]) -> dict[str, Any]:
    """Return a core schema of pydantic. Objects of the class are validated as they are.

    Args:
        cls: the class.
        from_dict: returns the object for a JSON value, or raises ValueError.
    """
    read = {"type": "function-plain", "function": {"type": "no-info", "function": from_dict}}
    is_one = {"type": "is-instance", "cls": cls}
    return {
        "type": "json-or-python",
        "json_schema": read,
        "python_schema": {"type": "union", "choices": [is_one, read]},
        "serialization": {"type": "function-plain", "function": cls.to_dict},
    }


def json_schema(cls: type[Any]) -> dict[str, Any]:
    """Return the JSON schema of a class. Like the class, it allows unknown and missing members."""
    properties: dict[str, Any] = {"type": {"const": cls.type, "type": "string"}}
    for field in fields_of(cls):
        wire = field.metadata.get("wire", field.name)
        if wire is not None:
            properties[wire] = schema_of_type(field.type)
    description = (cls.__doc__ or "").partition("\n")[0]
    return {
        "type": "object",
        "title": cls.__name__,
        "description": description,
        "properties": properties,
    }


def schema_of_type(annotation: Any) -> dict[str, Any]:
    """Return the JSON schema of an annotation. Objects with a class of their own stay open."""
    names: list[str] = []
    for choice in union_members(annotation):
        if is_wire_class(choice):
            names.append("object")
        elif get_origin(choice) is tuple:
            names.append("array")
        else:
            names.append(NAMES[get_origin(choice) or choice])
    written: dict[str, Any] = {"type": names[0] if len(names) == 1 else names}
    if get_origin(annotation) is tuple:
        written["items"] = {"type": "object"}
    return written
