"""Building: parameters, keys and an address in, an HTTP request out. Knows no connection and no
environment: keys are handed in.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

import attrs

from ..errors import check_type
from .body import body_of
from .headers import headers_of, pairs_of

__all__ = ["Request", "build_request"]


def shown_url(url: str) -> str:
    """Return a URL for people: some gateways want their key in the query."""
    path, mark, _ = url.partition("?")
    return repr(f"{path}?…" if mark else path)


SHOWN_HEADERS: Final = frozenset(
    {"accept", "anthropic-beta", "anthropic-version", "content-type", "user-agent"}
)


def shown_headers(headers: dict[str, str]) -> str:
    """Return headers for people: by a list, because what a gateway calls its key nobody knows."""
    return repr({name: headers[name] if name in SHOWN_HEADERS else "…" for name in headers})


def shown_size(body: bytes) -> str:
    """Return how long a body is: it may be megabytes, and whose they are nobody has asked."""
    return f"<{len(body)} bytes>"


@attrs.frozen(unsafe_hash=False)
class Request:
    """One HTTP request. Its `repr` shows neither credentials nor the body.

    Attributes:
        method: "POST".
        url: absolute, in ASCII.
        headers: by lower-case names. What belongs to a connection (`host`, `content-length`) is
            for the HTTP client to add.
        body: JSON in UTF-8.
    """

    method: str
    url: str = attrs.field(repr=shown_url)
    headers: dict[str, str] = attrs.field(repr=shown_headers)
    body: bytes = attrs.field(repr=shown_size)

    @property
    def target(self) -> str:
        """What stands in the request line: the path and the query of the URL."""
        _scheme, _, _host, *path = self.url.split("/")
        return "/" + "/".join(path)


def build_request(
    params: Mapping[str, Any],
    *,
    base_url: str = "https://api.anthropic.com",
    api_key: str | None = None,
    auth_token: str | None = None,
    api_version: str = "2023-06-01",
    betas: Iterable[str] = (),
    headers: Mapping[str, str | None] | Iterable[tuple[str, str | None]] = (),
    query: Mapping[str, str] | Iterable[tuple[str, str]] = (),
) -> Request:
    """Return the request that asks for the stream of one message.

    A `Message` or a content block of ours may stand wherever JSON may, and is written as `to_param`
    writes it; a list in which our blocks stand is trimmed like a message's content. Tuples are
    written as lists. Everything else goes as it is, unknown parameters included, and nothing that
    was handed in is changed.

    Args:
        params: the members of the body. `stream` is always true; a member that is `NOT_GIVEN` is
            left out, here and in every object inside; None is sent as null.
        base_url: `/v1/messages` is added to it, as far as it is not there; it may have a path.
        api_key: sent as `x-api-key`.
        auth_token: sent as `authorization: Bearer`.
        api_version: sent as `anthropic-version`.
        betas: sent as `anthropic-beta`, if there are any.
        headers: win over all others; the last of a name counts, and None removes it.
        query: added to the URL, percent-encoded.

    Raises:
        ValueError: for what cannot be sent: a number that JSON cannot hold and what `to_param`
            refuses, with the path as "messages.1.content.0"; what is nested too deep, or inside
            itself; a base_url that is no `http(s)://host[:port][/path]`; a header that HTTP cannot
            hold. No header's value and no URL is quoted.
        TypeError: for what is no JSON, with its path; for a key, or a header's value, that is no
            str.
    """
    keys: dict[str, object] = {"api_key": api_key, "auth_token": auth_token}
    for name, key in keys.items():
        if not isinstance(key, str | None):
            # `f"Bearer {key}"` would send the repr of bytes.
            raise TypeError(f"{name}: a str or None is needed, not {type(key).__name__}")
    return Request(
        "POST",
        url_of(base_url, query),
        headers_of(
            ("accept", "text/event-stream"),
            ("anthropic-beta", (betas if isinstance(betas, str) else ",".join(betas)) or None),
            ("anthropic-version", api_version),
            ("authorization", None if auth_token is None else f"Bearer {auth_token}"),
            ("content-type", "application/json"),
            ("x-api-key", api_key),
            *pairs_of(headers),
        ),
        body_of(params),
    )


# The patterns of this package are compiled when they are first used, to keep the import short.
BASE_URL: Final = (
    r"(?i:https?)://(?:\[[0-9A-Fa-f:.]+\]|LABEL(?:\.LABEL)*\.?)(?::(?P<port>[0-9]{1,5}))?"
    r"(?:/[!\"$->@-\[\]-~]*)?"
).replace("LABEL", "[0-9A-Za-z_~-]{1,63}")


def url_of(base_url: str, query: Mapping[str, str] | Iterable[tuple[str, str]]) -> str:
    """Return the URL of the endpoint."""
    base = re.fullmatch(BASE_URL, base_url)
    if base is None or int(base["port"] or 0) > 65535:
        raise ValueError(
            "base_url must be http(s)://host[:port][/path] in ASCII,"
            " without credentials, query or fragment"
        )
    pairs = [f"{percent_encoded(name)}={percent_encoded(value)}" for name, value in pairs_of(query)]
    scheme, _, rest = base_url.partition("://")
    host, slash, path = rest.partition("/")
    # Some call that the base which ends in /v1, and some the whole of it. No pattern that ends in
    # `/*$`: it would look at the rest from each of many slashes.
    path = f"{slash}{path}".rstrip("/")
    given = "/v1/messages" if path.endswith("/v1/messages") else "/v1"
    path = path.removesuffix(given)
    url = f"{scheme}://{host}{path}/v1/messages"
    return f"{url}?{'&'.join(pairs)}" if pairs else url


def percent_encoded(text: str) -> str:
    """Return text that may stand anywhere in a URL: RFC 3986's unreserved characters stay."""
    check_type(text, str)
    encoded = re.sub(rb"[^A-Za-z0-9._~-]", lambda byte: b"%%%02X" % ord(byte[0]), text.encode())
    return encoded.decode()
