"""Building: parameters, keys and a URL in, an HTTP request out.

The caller passes the keys in. This module reads no environment variable.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, Unpack

import attrs

from ..frozen import Value
from .body import body_of
from .headers import headers_of, pairs_of
from .params import ParamPolicies

__all__ = ["Request", "build_request"]


def shown_url(url: str) -> str:
    """Return the URL without its query for a `repr`, because some gateways take a key there."""
    path, mark, _ = url.partition("?")
    return repr(f"{path}?…" if mark else path)


SHOWN_HEADERS: Final = frozenset(
    {"accept", "anthropic-beta", "anthropic-version", "content-type", "user-agent"}
)
"""The headers whose values a `repr` shows."""


def shown_headers(headers: dict[str, str]) -> str:
    """Return the headers for a `repr`, with the values of harmless ones only.

    Why a list of harmless headers and not of secret ones: a gateway may name its key anything.
    """
    return repr({name: headers[name] if name in SHOWN_HEADERS else "…" for name in headers})


def shown_size(body: bytes) -> str:
    """Return the length of a body for a `repr`.

    The body itself is not shown. It may be megabytes long and may contain personal data.
    """
    return f"<{len(body)} bytes>"


@attrs.frozen(eq=False, repr=False)
class Request(Value):
    """One HTTP request. Its `repr` shows neither credentials nor the body.

    Attributes:
        method: always "POST".
        url: the absolute URL, in ASCII.
        headers: the headers, with names in lower case. The HTTP client must add those that belong
            to the connection, such as `host` and `content-length`.
        body: JSON in UTF-8.
    """

    method: str
    url: str = attrs.field(repr=shown_url)
    headers: dict[str, str] = attrs.field(repr=shown_headers)
    body: bytes = attrs.field(repr=shown_size)

    @property
    def target(self) -> str:
        """The path and the query of the URL, as they are written in the request line."""
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
    **policies: Unpack[ParamPolicies],
) -> Request:
    """Return the request that asks for the stream of one message.

    The parameters may contain `Message` objects and content blocks of this library anywhere. They
    are written as `to_param` writes them. If a list contains such blocks, empty text blocks and
    thinking at its end are left out, as in a message. A list has no `stop_reason`, so no call of a
    tool of the server is refused in it for its missing result.

    Objects of the official SDK are written by their `to_dict`, and its messages like a `Message`.
    Pydantic models are written by `model_dump(mode="json", by_alias=True)`. Tuples are written as
    lists. All other values are sent unchanged, including unknown parameters. The arguments
    themselves are never modified.

    Args:
        params: the members of the body. `stream` is always sent as true, and `messages` as the last
            member. A member whose value is `NOT_GIVEN` is left out, at every depth. A member whose
            value is None is sent as null.
        base_url: the URL of the API, which may have a path. `/v1/messages` is appended. If the path
            already ends in `/v1` or `/v1/messages`, only the missing part is appended.
        api_key: sent as `x-api-key`.
        auth_token: sent as `authorization: Bearer`.
        api_version: sent as `anthropic-version`.
        betas: sent as `anthropic-beta`, if there are any.
        headers: more headers. They override the headers above. If a name occurs twice, the last
            value is sent. A value of None removes the header.
        query: added to the URL, percent-encoded.
        policies: what to do with messages and blocks that the API refuses: `broken_input`,
            `duplicate_ids` and `surrogates`. `to_param` describes them. `surrogates` applies to
            every text of the body.

    Raises:
        ValueError: if a number has no JSON form, if a text has a lone surrogate, if a turn of
            `messages` has no content, or if `to_param` refuses a message or a block. The error
            names the path, for example "messages.1.content.0". Also if the parameters are nested
            too deeply or contain themselves, if `base_url` does not have the form
            `http(s)://host[:port][/path]`, or if HTTP does not allow a header. The error quotes
            neither the value of a header nor the URL.
        TypeError: if a value has no JSON form. The error names the path. Also if a key, a name or
            value of a header or of the query, or a beta is not a str. The error names it.
    """
    keys: dict[str, object] = {"api_key": api_key, "auth_token": auth_token}
    for name, key in keys.items():
        if not isinstance(key, str | None):
            # Without this check, `f"Bearer {key}"` would send the repr of a bytes object.
            raise TypeError(f"{name} must be a str or None, not {type(key).__name__}")
    return Request(
        "POST",
        url_of(base_url, query),
        headers_of(
            ("accept", "text/event-stream"),
            ("anthropic-beta", beta_list(betas) or None),
            ("anthropic-version", api_version),
            ("authorization", None if auth_token is None else f"Bearer {auth_token}"),
            ("content-type", "application/json"),
            ("x-api-key", api_key),
            *pairs_of(headers),
        ),
        body_of(params, policies),
    )


# The patterns of this package are compiled at their first use, to keep the import short.
BASE_URL: Final = (
    r"(?i:https?)://(?:\[[0-9A-Fa-f:.]+\]|LABEL(?:\.LABEL)*\.?)(?::(?P<port>[0-9]{1,5}))?"
    r"(?:/[!\"$->@-\[\]-~]*)?"
).replace("LABEL", "[0-9A-Za-z_~-]{1,63}")


def url_of(base_url: str, query: Mapping[str, str] | Iterable[tuple[str, str]]) -> str:
    """Return the URL of the endpoint, with the query.

    Raises:
        ValueError: if `base_url` does not have the form `http(s)://host[:port][/path]`.
        TypeError: if a name or a value of the query is not a str.
    """
    base = re.fullmatch(BASE_URL, base_url)
    if base is None or int(base["port"] or 0) > 65535:
        raise ValueError(
            "base_url must be http(s)://host[:port][/path] in ASCII,"
            " without credentials, query or fragment"
        )
    pairs = [
        f"{percent_encoded(name, name)}={percent_encoded(value, name)}"
        for name, value in pairs_of(query)
    ]
    scheme, _, rest = base_url.partition("://")
    host, slash, path = rest.partition("/")
    # A base URL may end before /v1, after it, or after the whole path. A pattern that ends in
    # `/*$` was rejected: it would search the rest of the URL anew from each of many slashes.
    path = f"{slash}{path}".rstrip("/")
    given = "/v1/messages" if path.endswith("/v1/messages") else "/v1"
    path = path.removesuffix(given)
    url = f"{scheme}://{host}{path}/v1/messages"
    return f"{url}?{'&'.join(pairs)}" if pairs else url


def percent_encoded(text: object, name: object) -> str:
    """Return `text` percent-encoded, except for the unreserved characters of RFC 3986.

    Args:
        text: a name or a value of the query.
        name: the name, for the message of an error. A value may be a key, so it is not shown.

    Raises:
        TypeError: if `text` is not a str.
    """
    if not isinstance(text, str):
        raise TypeError(
            f"the query must consist of str: {name!r} has a name or a value of the type"
            f" {type(text).__name__}"
        )
    encoded = re.sub(rb"[^A-Za-z0-9._~-]", lambda byte: b"%%%02X" % ord(byte[0]), text.encode())
    return encoded.decode()


def beta_list(betas: Iterable[str]) -> str:
    """Return the value of `anthropic-beta`.

    Raises:
        TypeError: if a beta is not a str.
    """
    if isinstance(betas, str):
        return betas
    names: list[Any] = [*betas]
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"a beta must be a str, not {type(name).__name__}: {name!r}")
    return ",".join(names)
