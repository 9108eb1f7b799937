"""The body of a request: parameters in, JSON in UTF-8 out. Knows no URL and no header.

Cost: one pass over the parameters, and one by `json`.
"""

import enum
from collections.abc import Mapping
from typing import Any, Final, Literal, TypeGuard

from ..encode import encode_json
from ..message import Block, Citation, Message
from .headers import is_mapping
from .params import Path, block_param, message_param, named, trimmed

__all__ = ["NOT_GIVEN", "NotGiven"]


class NotGiven(enum.Enum):
    """The type of `NOT_GIVEN`, for annotations: `system: str | NotGiven = NOT_GIVEN`."""

    NOT_GIVEN = "not given"

    def __bool__(self) -> Literal[False]:
        return False

    def __repr__(self) -> str:
        return self.name


NOT_GIVEN: Final = NotGiven.NOT_GIVEN
"""Stands for a parameter that shall not be sent. None is another thing: it is sent as null."""


def body_of(params: Mapping[str, Any]) -> bytes:
    """Return the JSON of the parameters."""
    try:
        return encode_json({**members_of(params, ()), "stream": True}).encode()
    except RecursionError:
        raise ValueError("the parameters are nested too deep, or inside themselves") from None


def json_of(value: Any, path: Path) -> Any:
    """Return the JSON value that stands for `value`: of containers, a new one."""
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, (int, float)):
        try:
            encode_json(value)
        except ValueError as error:  # NaN, and integers too long for Python to write
            raise ValueError(f"{named(path)}: {error}") from None
        return value
    if is_mapping(value):
        return members_of(value, path)
    if is_list(value):
        return [json_of(item, (*path, place)) for place, item in trimmed(value, "raise")]
    if isinstance(value, Message):
        return json_of(message_param(value, "raise", path), path)
    if isinstance(value, Block):
        return json_of(block_param(value, "raise", path), path)
    if isinstance(value, Citation):
        return json_of(value.to_dict(), path)
    raise TypeError(f"{named(path)}: {type(value).__name__} is no JSON")


def is_list(value: Any) -> TypeGuard[list[Any] | tuple[Any, ...]]:
    """Whether it is written as a JSON array."""
    return isinstance(value, (list, tuple))


def members_of(value: Mapping[Any, Any], path: Path) -> dict[str, Any]:
    """Return the members of a JSON object, without those that are `NOT_GIVEN`."""
    for name in value:
        if not isinstance(name, str):
            raise TypeError(f"{named((*path, repr(name)))}: names in JSON are strings")
    return {
        name: json_of(item, (*path, name)) for name, item in value.items() if item is not NOT_GIVEN
    }
