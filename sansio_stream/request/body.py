"""The body of a request: parameters in, JSON in UTF-8 out.

Cost: one pass over the parameters to convert them, and a second pass by `json` to write them.
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
    """The type of `NOT_GIVEN`, for annotations such as `system: str | NotGiven = NOT_GIVEN`."""

    NOT_GIVEN = "not given"

    def __bool__(self) -> Literal[False]:
        return False

    def __repr__(self) -> str:
        return self.name


NOT_GIVEN: Final = NotGiven.NOT_GIVEN
"""The value of a parameter that is left out of the request. None differs: it is sent as null."""


def body_of(params: Mapping[str, Any]) -> bytes:
    """Return the parameters as JSON in UTF-8, with `stream` set to true.

    Raises:
        ValueError: if a value cannot be written as JSON or sent to the API, or if the parameters
            are nested too deeply or contain themselves.
        TypeError: if a value has no JSON form, or if the name of a member is not a str.
    """
    try:
        return encode_json({**members_of(params, ()), "stream": True}).encode()
    except RecursionError:
        raise ValueError("the parameters are nested too deeply or contain themselves") from None


def json_of(value: Any, path: Path) -> Any:
    """Return `value` as a JSON value. Containers are copied, so `value` itself stays unchanged."""
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, (int, float)):
        try:
            encode_json(value)
        except ValueError as error:  # NaN, or an integer with more digits than Python writes
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
    raise TypeError(f"{named(path)}: {type(value).__name__} cannot be written as JSON")


def is_list(value: Any) -> TypeGuard[list[Any] | tuple[Any, ...]]:
    """Whether `value` is written as a JSON array."""
    return isinstance(value, (list, tuple))


def members_of(value: Mapping[Any, Any], path: Path) -> dict[str, Any]:
    """Return the members of a JSON object, without those that are `NOT_GIVEN`."""
    for name in value:
        if not isinstance(name, str):
            raise TypeError(f"{named((*path, repr(name)))}: the name of a member must be a str")
    return {
        name: json_of(item, (*path, name)) for name, item in value.items() if item is not NOT_GIVEN
    }
