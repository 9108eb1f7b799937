"""Headers: pairs in; out, those of a response, found whatever their case, or those of a request,
checked. Knows no URL and no body. Which of them are credentials is said here.
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
"""Headers whose values are never shown."""


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
"""What the two ends of a connection tell each other of it. Who forwards the headers of another
connection would cut the body, or hang.
"""


class Headers(Mapping[str, str]):
    """The headers of a response: immutable, found whatever their case, in lower case when iterated.

    The values of a name that comes twice are joined by ", ". Equal to every mapping with the same
    lower-case names and the same values. Credentials are left out of the `repr`.
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
    """Return the pairs of a mapping, or those that were given."""
    return items.items() if is_mapping(items) else items


def is_mapping(value: Any) -> TypeGuard[Mapping[Any, Any]]:
    """Whether it is a dict or the like."""
    return isinstance(value, Mapping)


# RFC 9110: a token; and visible characters with blanks between them. Latin-1 is its `obs-text`.
HEADER_NAME: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
HEADER_VALUE: Final = r"(?:[!-~\x80-\xff]+(?:[ \t]+[!-~\x80-\xff]+)*)?"


def check_text(name: str, value: object) -> None:
    """Raise TypeError, which names the header and shows no value, for what is no str."""
    if not isinstance(value, str):
        raise TypeError(f"the header {name!r}: a str is needed, not {type(value).__name__}")


def headers_of(*pairs: tuple[str, str | None]) -> dict[str, str]:
    """Return the headers if HTTP can hold them; the last of a name counts, and None removes it."""
    headers: dict[str, str] = {}
    for name, value in pairs:
        if not re.fullmatch(HEADER_NAME, name):
            raise ValueError(f"{name!r} cannot be the name of a header")
        headers.pop(name.lower(), None)
        if value is None:
            continue
        check_text(name, value)
        if name.lower() in FRAMING:
            raise ValueError(f"the header {name!r} is for the HTTP client to say")
        if not re.fullmatch(HEADER_VALUE, value):
            raise ValueError(
                f"the value of the header {name!r} (not shown) cannot be sent: it begins or ends"
                " with a blank, or has a line end, a control or a character beyond Latin-1 in it"
            )
        headers[name.lower()] = value
    return headers
