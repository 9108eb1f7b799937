"""Lone surrogates: the halves of characters that JSON can escape, and that the API refuses.

A tokenizer or a cut may leave half of a character in a text. Python can hold such a text, and JSON
can write it as an escape, but UTF-8 cannot encode it, and the API answers it with status 400.

Cost: one look at each string. A string in ASCII, as most are, is looked at in constant time.
"""

import re
from typing import Any, Final, Literal, TypeAlias

from ..codec import is_array, is_object
from ..surrogates import joined_halves
from .paths import RefusedError

__all__: list[str] = []

Surrogates: TypeAlias = Literal["raise", "replace"]

LONE: Final = "[\ud800-\udfff]"
"""A pattern. It is used after the halves of whole characters have been joined."""


def encodable(text: str, policy: Surrogates) -> str:
    """Return a text that UTF-8 can encode. Two halves that are adjacent become one character.

    Raises:
        RefusedError: if the text has a lone surrogate and the policy is "raise".
    """
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        pass
    else:
        return text
    joined = joined_halves(text)
    lone = re.search(LONE, joined)
    if lone is None:
        return joined
    if policy == "raise":
        raise RefusedError(
            ValueError,
            f"the lone surrogate {lone[0]!a} at index {lone.start()} cannot be sent"
            ' (surrogates="replace" sends U+FFFD)',
        )
    return re.sub(LONE, "\ufffd", joined)


def with_encodable(value: Any, policy: Surrogates) -> Any:
    """Return a JSON value in which all strings and all names of members are encodable.

    A container is copied only if something in it changes.

    Raises:
        RefusedError: as `encodable` raises it, with the path of the string.
    """
    if isinstance(value, str):
        return encodable(value, policy)
    step: str | int = 0
    try:
        if is_object(value):
            members: dict[str, Any] = {}
            for step, item in value.items():
                members[encodable(step, policy)] = with_encodable(item, policy)
            is_same = all(members.get(name, members) is item for name, item in value.items())
            return value if is_same else members
        if is_array(value):
            items: list[Any] = []
            for step, item in enumerate(value):  # noqa: B007  (the `except` clause uses it)
                items.append(with_encodable(item, policy))
            is_same = all(new is old for new, old in zip(items, value, strict=True))
            return value if is_same else items
    except RefusedError as refused:
        refused.below(step)
        raise
    return value
