"""The body of a request: parameters in, JSON in UTF-8 out.

Cost: one pass over the parameters to convert them, and a second pass by `json` to write them.
"""

import enum
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from operator import itemgetter, methodcaller
from typing import Any, Final, Literal, TypeGuard

from ..codec import is_object
from ..encode import encode_json
from ..message import Block, Citation, Message
from .characters import with_encodable
from .foreign import json_of_foreign
from .headers import is_mapping
from .params import ParamPolicies, block_param, check_policies, content_params, message_param
from .paths import RefusedError

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


def body_of(params: Mapping[str, Any], policies: ParamPolicies) -> bytes:
    """Return the parameters as JSON in UTF-8, with `stream` set to true and `messages` at the end.

    Why `messages` is the last member: some caches of prompts compare bodies from their beginning,
    and `messages` is what differs from one request of a conversation to the next.

    Raises:
        ValueError: if a value cannot be written as JSON or sent to the API, or if the parameters
            are nested too deeply or contain themselves.
        TypeError: if a value has no JSON form, or if the name of a member is not a str.
    """
    check_policies(policies)
    members = {name: item for name, item in params.items() if item is not NOT_GIVEN}
    last = {"messages": members.pop("messages")} if "messages" in members else {}
    members = {**members, "stream": True, **last}
    try:
        check_turns(members.get("messages"))
        body = plain_body(members, policies)
        if body is None:
            members = json_of(members, policies)
            check_turns(members.get("messages"))
            body = dumped(with_encodable(members, policies.get("surrogates", "raise")))
    except RefusedError as refused:
        raise refused.error from None
    except RecursionError:
        raise ValueError("the parameters are nested too deeply or contain themselves") from None
    return body


def dumped(members: dict[str, Any], default: Callable[[Any], Any] | None = None) -> bytes:
    """Return a JSON object in UTF-8. `default` converts what is no JSON value."""
    layout = (",", ":")
    text = json.dumps(
        members, ensure_ascii=False, allow_nan=False, separators=layout, default=default
    )
    return text.encode()


class NotPlainError(Exception):
    """Signals that the quick way cannot write the parameters. It never leaves this module."""


def plain_body(members: dict[str, Any], policies: ParamPolicies) -> bytes | None:
    """Return the body if nothing in it needs care but whole messages; else None.

    It is the quick way for long histories: `json` does nearly all of the work. Where it fails,
    `json_of` finds out the reason and the path. A history of 20,000 turns of plain text takes 1.6
    times as long as `json.dumps` this way, and 5 times as long by `json_of`.
    """
    converted: list[Any] = [members]

    def default(value: Any) -> Any:
        if not isinstance(value, Message):
            raise NotPlainError
        param = message_param(value, policies)
        if not param["content"]:
            raise NotPlainError
        converted.append(param)
        return param

    try:
        body = dumped(members, default)
    except (NotPlainError, RecursionError, RefusedError, TypeError, ValueError):
        return None
    return body if has_only_str_names(converted) else None


SCALARS: Final[frozenset[type]] = frozenset({str, int, float, bool, type(None)})


def has_only_str_names(values: list[Any]) -> bool:
    """Whether all names of members are strings, in JSON values that do not contain themselves.

    `json` would write the names 1, None and True as "1", "null" and "true". The values are looked
    at level by level and not by recursion, so that nearly all of the work is done in C. That takes
    a fifth of the time.
    """
    while values:
        types: set[type] = set(map(type, values))
        objects = instances(values, types, dict)
        arrays = instances(values, types, list, tuple)
        shapes: set[tuple[Any, ...]] = set(map(tuple, objects))
        if not all(isinstance(name, str) for shape in shapes for name in shape):
            return False
        columns: list[Iterable[Any]] = [chain.from_iterable(arrays)]
        if len(shapes) == 1:  # as the turns of a history have it, and the blocks of a text
            columns += [map(itemgetter(name), objects) for name in shapes.pop()]
        else:
            columns += [chain.from_iterable(map(methodcaller("values"), objects))]
        values = []
        for column in map(list, columns):
            if not SCALARS.issuperset(map(type, column)):
                values += [value for value in column if type(value) is not str]
    return True


def instances(values: list[Any], types: set[type], *classes: type) -> list[Any]:
    """Return the values that are instances of a class. `types` are the types of all values."""
    wanted = [each for each in types if issubclass(each, classes)]
    if len(wanted) == len(types):
        return values
    return [value for value in values if isinstance(value, classes)] if wanted else []


def check_turns(messages: Any) -> None:
    """Raise RefusedError if a turn has no content, as a message has if nothing of it is sent.

    A beta allows system messages without content, which only change the configuration.
    """
    for place, turn in enumerate(messages if is_list(messages) else ()):
        if is_object(turn) and not turn.get("content", True) and turn.get("role") != "system":
            raise RefusedError(
                ValueError,
                "the turn has no content, and the API rejects it: leave the turn out",
                "messages",
                place,
            )


LONGEST_PLAIN_INTEGER: Final = 2**63
"""Python writes every integer below this one. It refuses integers of thousands of digits."""

OBJECTS: Final = (Block, Message, Citation)
"""The classes of this library that stand for a value of a request."""


def json_of(value: Any, policies: ParamPolicies) -> Any:
    """Return `value` as a JSON value. Containers are copied, so `value` itself stays unchanged.

    Raises:
        RefusedError: if `value` has no JSON form or cannot be sent.
    """
    if value is None or isinstance(value, (str, bool)):
        return value
    if is_list(value):
        return items_of(value, policies)
    if is_mapping(value):
        return members_of(value, policies)
    if isinstance(value, (int, float)):
        return number(value)
    if not isinstance(value, OBJECTS):
        value = json_of_foreign(value)
    if isinstance(value, Message):
        value = message_param(value, policies)
    elif isinstance(value, Block):
        value = block_param(value, policies)
    elif isinstance(value, Citation):
        value = value.to_dict()
    return json_of(value, policies)


def members_of(value: Mapping[Any, Any], policies: ParamPolicies) -> dict[str, Any]:
    """Return the members of a JSON object, without those that are `NOT_GIVEN`."""
    members: dict[str, Any] = {}
    name: Any = ""
    try:
        for name, item in value.items():
            check_name(name)
            if type(item) is str:  # a call for each text would take a tenth of the whole time
                members[name] = item
            elif item is not NOT_GIVEN:
                members[name] = json_of(item, policies)
    except RefusedError as refused:
        refused.below(name)
        raise
    return members


def check_name(name: object) -> None:
    """Raise RefusedError if the name of a member is not a str."""
    if not isinstance(name, str):
        kind = type(name).__name__
        raise RefusedError(TypeError, f"the name of a member must be a str, not {kind}")


def items_of(value: Sequence[Any], policies: ParamPolicies) -> list[Any]:
    """Return the items of a JSON array, without the blocks that `to_param` leaves out."""
    placed: Iterable[tuple[int, Any]] = enumerate(value)
    if any(isinstance(item, Block) for item in value):
        placed = content_params(value, policies)
    items: list[Any] = []
    place = 0
    try:
        for place, item in placed:  # noqa: B007  (the `except` clause uses it)
            items.append(json_of(item, policies))
    except RefusedError as refused:
        refused.below(place)
        raise
    return items


def is_list(value: Any) -> TypeGuard[list[Any] | tuple[Any, ...]]:
    """Whether `value` is written as a JSON array."""
    return isinstance(value, (list, tuple))


def number(value: int | float) -> int | float:  # noqa: PYI041  (the two are tested apart)
    """Return a number, if JSON can represent it.

    Raises:
        RefusedError: if the value is NaN, infinite, or an integer that Python does not write.
    """
    if isinstance(value, float) and math.isfinite(value):
        return value
    if isinstance(value, int) and abs(value) < LONGEST_PLAIN_INTEGER:
        return value
    try:
        encode_json(value)
    except ValueError as error:
        raise RefusedError(ValueError, str(error)) from None
    return value
