"""The header of a capture: the facts before the first byte of the body, without credentials."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import attrs

from ..frozen import HashableValue

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

__all__ = ["CaptureHeader"]

# The headers that help to understand a stream, or to ask its sender about it. This is an
# allow-list, because an unforeseen header may contain a credential, a cookie, or the id of an
# organisation or a workspace. `x-amzn-requestid` is the request id of Amazon Bedrock, `cf-ray` is
# that of Cloudflare.
_RECORDED_HEADERS = (
    r"content-type|request-id|x-amzn-requestid|cf-ray"
    r"|retry-after|retry-after-ms|x-should-retry|anthropic-ratelimit-[a-z0-9-]+"
)


def _recorded_headers(headers: Mapping[str, str] | Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return the headers that a capture keeps, under lower-case names."""
    lower = {name.lower(): value for name, value in dict(headers).items()}
    return {name: value for name, value in lower.items() if re.fullmatch(_RECORDED_HEADERS, name)}


# The parameters with the content of the request, and the schemas of answers and tools. They are
# kept unchanged, because the names inside them are not names of parameters: for example, a JSON
# Schema may have a property called `api_key`.
_CONTENT = frozenset({"messages", "system", "input_schema", "schema"})

# The names of members in which gateways accept keys, or headers to forward. The pattern does not
# match members that count tokens.
_CREDENTIAL_NAME = (
    r"(?i)api_?key|access_?key|token(?!s)|secret|passw|credential|authorization|cookie"
    r"|(?:^|[_-])(?:key|auth|headers?)(?:$|[_-])"
)

_MCP_SERVERS = frozenset({"mcp_servers", "mcpServers"})

# No known parameter outside the content nests deeper. Containers below this depth are not searched
# for credentials, so they are dropped.
_MAX_DEPTH = 16


def _without_credentials(request: Mapping[str, Any] | None) -> dict[str, Any] | None:
    return None if request is None else _redacted(dict(request), _MAX_DEPTH)


def _redacted(value: Any, depth: int) -> Any:
    """Return a parameter without members that may contain a credential.

    A container that is nested more than `depth` levels deep becomes None.
    """
    items = _items(value)
    if items is None:
        return value
    if not depth:
        return None
    if not isinstance(value, dict):
        return [_redacted(each, depth - 1) for _, each in items]
    return {
        name: _member(name, each, depth - 1)
        for name, each in items
        if not re.search(_CREDENTIAL_NAME, str(name))
    }


def _member(name: object, value: Any, depth: int) -> Any:
    if name in _CONTENT:
        return value
    if name in _MCP_SERVERS and value is not None:
        return list(_servers(value, depth))
    return _redacted(value, depth)


def _servers(value: Any, depth: int) -> Iterator[dict[str, Any]]:
    """Yield the redacted entry of each MCP server in `value`, however its containers are nested."""
    match value:
        case {"url": str()} | {"type": str(), "name": str()}:
            yield _redacted_server(value)
        case _:
            for _, each in (_items(value) or ()) if depth else ():
                yield from _servers(each, depth - 1)


def _redacted_server(entry: Any) -> dict[str, Any]:
    """Return the members of a server's entry that cannot contain a credential."""
    kept: dict[str, Any] = {}
    for name, value in entry.items():
        match name, value:
            case "type" | "name", str():
                kept[name] = value
            case "url", str() if origin := re.fullmatch(_URL, value, re.DOTALL):
                kept[name] = f"{origin['scheme']}://{origin['host']}"
            case "tool_configuration", dict():
                kept[name] = dict(_tool_configuration(value))
            case _:
                pass
    return kept


def _tool_configuration(value: Any) -> Iterator[tuple[str, Any]]:
    for name, each in value.items():
        if name == "enabled" and isinstance(each, bool):
            yield name, each
        elif name == "allowed_tools":
            yield name, [tool for _, tool in _items(each) or () if isinstance(tool, str)]


def _items(value: Any) -> Iterable[tuple[Any, Any]] | None:
    """Return the (name or index, value) pairs of a container; None if it is not a container."""
    container: Any = value
    if isinstance(value, dict):
        members: Iterable[tuple[Any, Any]] = container.items()
        return members
    return enumerate(container) if isinstance(value, list | tuple) else None


# Browsers accept any number of slashes or backslashes after the scheme, and so does this pattern.
# It does not match if an `@` follows the host, because the text that looks like the host may be a
# user name, and a password may follow it. The port is not kept, because digits after the colon may
# be the beginning of a password.
_URL = (
    r"(?P<scheme>[Hh][Tt][Tt][Pp][Ss]?):[/\\]*(?:[^/\\?#@]*@)?"
    r"(?P<host>[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]*)?(?:[/\\?#][^@]*)?"
)


@attrs.frozen(eq=False, repr=False, kw_only=True)
class CaptureHeader(HashableValue):
    """The facts that are known before the first byte of the body, without any credential.

    Attributes:
        version: the version of the format.
        status: the HTTP status of the response, or None if it is unknown.
        headers: the headers of the response, under lower-case names. Only these are kept:
            content-type, request-id, x-amzn-requestid, cf-ray, retry-after, retry-after-ms,
            x-should-retry, anthropic-ratelimit-*.
        request: the body of the request, or None if it is unknown. Parameters whose names are
            those of credentials (`api_key`, `headers`, ...) are dropped. `mcp_servers` becomes a
            list of servers, whatever container they were in. A server keeps only its `type`,
            `name` and `tool_configuration`, and the scheme and host of its `url`. `messages`,
            `system` and the schemas of tools are kept unchanged.
    """

    version: int = attrs.field(default=1, init=False)
    status: int | None = None
    headers: dict[str, str] = attrs.field(factory=dict[str, str], converter=_recorded_headers)
    request: dict[str, Any] | None = attrs.field(default=None, converter=_without_credentials)
