"""Headers: those of a response, looked up in any case, and those of a request, checked.

This module also defines which headers are credentials.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, TypeGuard

__all__ = ["Headers"]

CREDENTIALS: Final = frozenset(
    {
        "api-key",
        "authorization",
        "cookie",
        "proxy-authorization",
        "set-cookie",
        "x-amz-security-token",
        "x-api-key",
        "x-goog-api-key",
    }
)
"""The headers whose values are never shown."""

FRAMING: Final = frozenset(
    {
        "connection",
        "content-length",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
"""The headers that describe one connection. Only the HTTP client of that connection may set them.

If they were copied from another connection, the body would be cut short, or the request would hang.
"""


class Headers(Mapping[str, str]):
    """The headers of a response: an immutable mapping in which case does not matter.

    Iteration yields the names in lower case. If a name occurs more than once, its values are joined
    by ", ". A `Headers` equals every mapping that has the same lower-case names and the same
    values. The `repr` does not show the values of credentials.
    """

    __slots__ = ("_values",)

    def __init__(self, headers: Mapping[str, str] | Iterable[tuple[str, str]] = ()) -> None:
        self._values: dict[str, str] = {}
        for name, value in pairs_of(headers):
            earlier = self._values.get(name.lower())
            self._values[name.lower()] = value if earlier is None else f"{earlier}, {value}"

    def __getitem__(self, name: str) -> str:
        return self._values[name.lower()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        shown = {name: "…" if name in CREDENTIALS else self[name] for name in self}
        return f"{type(self).__name__}({shown!r})"


def pairs_of(items: Any) -> Iterable[tuple[str, Any]]:
    """Return the items of a mapping; return anything else unchanged."""
    return items.items() if is_mapping(items) else items


def is_mapping(value: Any) -> TypeGuard[Mapping[Any, Any]]:
    """Whether `value` is a `Mapping`."""
    return isinstance(value, Mapping)


# RFC 9110: a name is a token. A value consists of visible characters, with spaces or tabs only
# between them. The characters of Latin-1 beyond ASCII are its `obs-text`.
HEADER_NAME: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
HEADER_VALUE: Final = r"(?:[!-~\x80-\xff]+(?:[ \t]+[!-~\x80-\xff]+)*)?"


def check_text(name: str, value: object) -> None:
    """Raise TypeError if `value` is not a str. The error has the name, but never the value."""
    if not isinstance(value, str):
        raise TypeError(f"the value of {name!r} must be a str, not {type(value).__name__}")


def headers_of(*pairs: tuple[Any, str | None]) -> dict[str, str]:
    """Return the headers of a request, with names in lower case.

    If a name occurs twice, the last value is used. A value of None removes the header.

    Raises:
        ValueError: if HTTP does not allow a name or a value, or if the header belongs to the
            connection. The error never contains the value.
        TypeError: if a name or a value is not a str. The error has the name.
    """
    headers: dict[str, str] = {}
    for name, value in pairs:
        if not isinstance(name, str):
            raise TypeError(
                f"the name of a header must be a str, not {type(name).__name__}: {name!r}"
            )
        if not re.fullmatch(HEADER_NAME, name):
            raise ValueError(f"{name!r} is not a valid header name")
        headers.pop(name.lower(), None)
        if value is None:
            continue
        check_text(name, value)
        if name.lower() in FRAMING:
            raise ValueError(f"only the HTTP client may set the header {name!r}: leave it out")
        if not re.fullmatch(HEADER_VALUE, value):
            raise ValueError(
                f"the value of the header {name!r} (not shown) cannot be sent: it begins or ends"
                " with white space, or contains a line end, a control or a character beyond Latin-1"
            )
        headers[name.lower()] = value
    return headers
