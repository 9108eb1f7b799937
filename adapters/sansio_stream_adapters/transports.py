"""Transports for httpx and httpx2: verify, record, report and replay streams under any client.

    client = anthropic.Anthropic(http_client=verify(anthropic.DefaultHttpxClient()))

The client stays what it is: its requests, its retries, its connections and its proxies. Only the
bodies of its streams are read by a machine as well. A `VerifyingTransport` turns an answer that is
cut or damaged into an exception. A `ReplayTransport` answers with recordings, without a network.

Both transports work with both libraries, synchronously and asynchronously. The request says which.
"""

from __future__ import annotations

import contextlib
import inspect
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, TypedDict, TypeVar, Unpack

from sansio_stream.codec import is_object
from sansio_stream.errors import copy_for_raise

from ._recordings import Recordings, RecordStreamsTo
from ._replay import ReplayTransport
from ._reply import headers_in_text
from ._tee import AsyncTee, Tee
from ._transport import Transport, body_class, library_of
from ._verification import OnEnd, Verification, VerificationOptions
from .httpx import is_read, map_error

if TYPE_CHECKING:
    import httpx
    import httpx2

    from sansio_stream.errors import Limits

    from ._recording import Recorder

__all__ = ["ReplayTransport", "VerifyOptions", "VerifyingTransport", "asks_for_stream", "verify"]

Raises: TypeAlias = Literal["library", "own"]

AnyClient = TypeVar(
    "AnyClient", bound="httpx.Client | httpx.AsyncClient | httpx2.Client | httpx2.AsyncClient"
)

PATHS: Final = ("/messages", ":streamRawPredict", "/invoke-with-response-stream")
"""The ends of the paths at which the API, Vertex AI and Bedrock stream messages."""

OTHER_FRAMING: Final = "application/vnd.amazon.eventstream"
"""The content type of Bedrock's streams. They are not server-sent events, and are not read."""


def asks_for_stream(request: Any) -> bool:
    """Whether a request asks for a stream of a message. The default of `select`.

    It does if it is a POST, if its path ends in `/messages`, `:streamRawPredict` or
    `/invoke-with-response-stream`, and if its body is a JSON object with `"stream": true`.

    Args:
        request: a request of httpx or httpx2.
    """
    is_one = request.method == "POST" and request.url.path.endswith(PATHS)
    return is_one and (parameters_of(request) or {}).get("stream") is True


def parameters_of(request: Any) -> dict[str, Any] | None:
    """Return the JSON object in the body of a request, or None if the body is anything else."""
    # Any other body can be read once only, by the connection.
    if isinstance(request.stream, library_of(request).ByteStream):
        with contextlib.suppress(ValueError, RecursionError):
            # A request that follows a redirect has its body, but has not read it.
            body: dict[str, Any] | object = json.loads(request.read())
            return body if is_object(body) else None
    return None


class VerifyOptions(TypedDict, total=False):
    """The options of `VerifyingTransport` and `verify`.

    Attributes:
        record_to: where the streams are recorded. An existing folder gets a file for each stream. A
            file takes one stream. A function takes the request, and returns one of them, a binary
            file, or None. A response that is not a stream is not recorded.
        on_end: is called once with the `Report` of each observed response, when its body has ended
            or its reader has left. Its exceptions are logged.
        raises: the exceptions for a stream without a usable end. "library" raises the library's
            `RemoteProtocolError`, with the error of this package as its cause. "own" raises the
            error of this package, also in the place of the library's exceptions of the body.
        select: a function that takes a request and returns whether its answer is observed.
        raise_unterminated: whether a stream raises if only its message_stop is missing.
        limits: the limits of the machine. A stream that exceeds them is broken.
    """

    record_to: RecordStreamsTo | Recordings | None
    on_end: OnEnd | None
    raises: Raises
    select: Callable[[Any], bool]
    raise_unterminated: bool
    limits: Limits | None


class VerifyingTransport(Transport):
    """A transport whose streams raise an exception unless the message arrived in full.

        transport = VerifyingTransport(httpx.HTTPTransport(), on_end=print)
        client = httpx.Client(transport=transport)

    A selected response with a 2xx status is observed while it is read. Its body raises if the
    stream is cut, empty, damaged or broken, or if it is no stream but JSON or HTML. Chunks pass
    unchanged, with two exceptions. The chunk whose message_stop ends a damaged message is not
    delivered, because readers stop at message_stop; the error is raised in its place. And nothing
    is delivered of a response that is no stream.

    Error events are delivered: the reader raises them. A response with another status passes
    unchanged, and is only reported. A redirect, and a request that is not selected, pass untouched.

    A compressed body stays compressed for its reader. The transport decodes a copy of it, in pieces
    of at most 64 KiB. A stream in an encoding that `decoder_for` does not know raises.

    The errors come from the body and never from `handle_request`, because clients send a request
    again if that raises. Exceptions of the inner transport pass unchanged.

    Cost: 1.2 times that of the machine for chunks of 1,400 bytes, and 1.8 times for one event per
    chunk. The JSON of a request that asks for a stream is parsed once, or twice if it is recorded.
    Memory: that of an `Observer`.

    Args:
        inner: the transport that sends the requests. By default one of the library of the first
            request, with the library's default settings.
        record_to: see `VerifyOptions`, which describes all options.
        on_end: see `VerifyOptions`.
        raises: see `VerifyOptions`.
        select: see `VerifyOptions`.
        raise_unterminated: see `VerifyOptions`.
        limits: see `VerifyOptions`.

    Raises:
        OSError: `record_to` cannot be written.
        FileExistsError: `record_to` is a file that is not empty.
        TypeError: `record_to` is neither a path nor a function.
        ValueError: `raises` is neither "library" nor "own".
    """

    def __init__(
        self,
        inner: Any = None,
        *,
        record_to: RecordStreamsTo | Recordings | None = None,
        on_end: OnEnd | None = None,
        raises: Raises = "library",
        select: Callable[[Any], bool] = asks_for_stream,
        raise_unterminated: bool = False,
        limits: Limits | None = None,
    ) -> None:
        if raises not in ("library", "own"):
            raise ValueError(f"raises must be 'library' or 'own', not {raises!r}")
        self._inner = inner
        self._made: dict[str, Any] = {}
        self._raises = raises
        self._recordings = Recordings.of(record_to)
        self._select = select
        self._options = VerificationOptions(
            on_end=on_end, unterminated=raise_unterminated, limits=limits
        )

    def handle_request(self, request: Any) -> Any:
        """Send a request, and return its response with a body that is verified while it is read."""
        library = library_of(request)
        inner = self._inner_for(library, "HTTPTransport")
        if not self._select(request):
            return inner.handle_request(request)
        sent_at = time.monotonic()
        response = inner.handle_request(request)
        return self._verified(library, VerifiedBody, request, response, sent_at)

    async def handle_async_request(self, request: Any) -> Any:
        """Send a request, and return its response with a body that is verified while it is read."""
        library = library_of(request)
        inner = self._inner_for(library, "AsyncHTTPTransport")
        if not self._select(request):
            return await inner.handle_async_request(request)
        sent_at = time.monotonic()
        response = await inner.handle_async_request(request)
        return self._verified(library, AsyncVerifiedBody, request, response, sent_at)

    def _inner_for(self, library: Any, kind: str) -> Any:
        """Return the inner transport. Makes a default one of this kind if none was passed in."""
        if self._inner is not None:
            return self._inner
        name = f"{library.__name__}.{kind}"
        if name not in self._made:
            # If two threads get here at once, both use the transport of the first.
            self._made.setdefault(name, getattr(library, kind)())
        return self._made[name]

    def _verified(
        self,
        library: Any,
        kind: type[VerifiedBody | AsyncVerifiedBody],
        request: Any,
        response: Any,
        sent_at: float,
    ) -> Any:
        """Return the response with another body. Nothing here may raise: the answer is billed."""
        status = response.status_code
        if 300 <= status < 400 or OTHER_FRAMING in response.headers.get("content-type", ""):
            return response
        raw = response.headers.raw
        chunks = response.stream
        if is_read(response) and not isinstance(chunks, library.ByteStream):
            # The inner transport has read the body, and so has decoded it.
            chunks = library.ByteStream(response.content)
            raw = [pair for pair in raw if pair[0].lower() != b"content-encoding"]
        if kind is AsyncVerifiedBody and library.__name__ == "httpx2":
            chunks = EndingSource(chunks)

        def recorder() -> Recorder | None:
            if self._recordings is None:
                return None
            id = response.headers.get("request-id")
            return self._recordings.recorder(request, parameters_of(request), id, sent_at)

        head = headers_in_text(raw)
        verification = Verification(status, head, self._options, map_error, recorder)

        def library_error(message: str) -> Exception:
            error: Exception = library.RemoteProtocolError(message, request=request)
            return error

        body = body_class(kind, library)(
            chunks, verification, library_error if self._raises == "library" else None, sent_at
        )
        return library.Response(status, headers=raw, stream=body, extensions=response.extensions)

    def close(self) -> None:
        """Close the inner transport."""
        for transport in [self._inner, *self._made.values()]:
            if hasattr(transport, "close"):
                transport.close()

    async def aclose(self) -> None:
        """Close the inner transport."""
        for transport in [self._inner, *self._made.values()]:
            if hasattr(transport, "aclose"):
                await transport.aclose()


LibraryError: TypeAlias = Callable[[str], Exception]
"""Returns an exception of the library with this message."""


class Verified:
    """The common part of both bodies: which exception their reader gets.

    Args:
        verification: knows the error.
        library_error: makes the library's exception. None to raise our own.
    """

    def __init__(self, verification: Verification, library_error: LibraryError | None) -> None:
        self._verification = verification
        self._library_error = library_error

    def _raise_if_bad(self) -> None:
        """Raise the exception of a stream without a usable end, if it is one."""
        error = self._verification.error
        if error is None:
            return
        if self._library_error is None:
            raise copy_for_raise(error)
        raise self._library_error(str(error)) from copy_for_raise(error)

    def _raise_own(self, exc: Exception) -> None:
        """Raise our error in the place of an exception of the source, if that is wanted."""
        if self._library_error is None and self._verification.is_success:
            raise self._verification.own_error(exc)


class VerifiedBody(Verified, Iterator[bytes]):
    """The body of a response: the chunks of another body, and an exception if its end is bad."""

    def __init__(
        self,
        chunks: Any,
        verification: Verification,
        library_error: LibraryError | None,
        sent_at: float,
    ) -> None:
        super().__init__(verification, library_error)
        self._tee = Tee(chunks, verification, sent_at)

    def __next__(self) -> bytes:
        verification = self._verification
        self._raise_if_bad()
        try:
            for chunk in self._tee:
                if verification.error is not None:
                    break
                if not verification.is_withheld:
                    return chunk
        except Exception as exc:
            self._raise_own(exc)
            raise
        self._tee.close()
        self._raise_if_bad()
        raise StopIteration

    def close(self) -> None:
        """Close the other body. If it has not ended, its reader has left."""
        self._tee.close()


class AsyncVerifiedBody(Verified, AsyncIterator[bytes]):
    """The body of a response, asynchronously. See `VerifiedBody`."""

    def __init__(
        self,
        chunks: Any,
        verification: Verification,
        library_error: LibraryError | None,
        sent_at: float,
    ) -> None:
        super().__init__(verification, library_error)
        self._tee = AsyncTee(chunks, verification, sent_at)

    async def __anext__(self) -> bytes:
        verification = self._verification
        self._raise_if_bad()
        try:
            async for chunk in self._tee:
                if verification.error is not None:
                    break
                if not verification.is_withheld:
                    return chunk
        except Exception as exc:
            self._raise_own(exc)
            raise
        await self._tee.aclose()
        self._raise_if_bad()
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """Close the other body. If it has not ended, its reader has left."""
        await self._tee.aclose()


class EndingSource(AsyncIterator[bytes]):
    """The chunks of a body. Closing it also ends the generator in which the body is read.

    httpx2 itself does so, but it does not see a generator that is behind a verified body. trio
    warns about a generator that is left unfinished.
    """

    def __init__(self, body: Any) -> None:
        self._body = body
        self._chunks: Any = aiter(body)
        self._is_generator = inspect.isasyncgen(self._chunks)

    async def __anext__(self) -> bytes:
        chunk: bytes = await anext(self._chunks)
        return chunk

    async def aclose(self) -> None:
        """Close the body."""
        await self._body.aclose()
        if self._is_generator:
            with contextlib.suppress(RuntimeError):  # another task is reading
                await self._chunks.aclose()


def verify(client: AnyClient, **options: Unpack[VerifyOptions]) -> AnyClient:
    """Put a `VerifyingTransport` around each transport of a client, and return the client.

        http_client = verify(anthropic.DefaultHttpxClient(), on_end=print)
        client = anthropic.Anthropic(http_client=http_client)

    The transports of its proxies and mounts are wrapped as well. All its settings stay.

    Args:
        client: a client of httpx or httpx2, synchronous or asynchronous. It is changed.
        **options: see `VerifyOptions`.

    Raises:
        TypeError: the object is no such client, or an option is unknown.
        OSError: see `VerifyingTransport`.
    """
    inside: dict[str, Any] = getattr(client, "__dict__", {})
    if not {"_transport", "_mounts"} <= inside.keys():
        kind = type(client).__name__
        raise TypeError(
            f"verify takes a client of httpx or httpx2, such as http_client, not {kind}"
        )
    if "record_to" in options:
        options["record_to"] = Recordings.of(options["record_to"])  # all transports share one file
    mounts = {
        # None sends what matches the pattern through the first transport.
        pattern: None if transport is None else VerifyingTransport(transport, **options)
        for pattern, transport in inside["_mounts"].items()
    }
    # Neither library has a public way to exchange the transports of a client.
    inside.update(_transport=VerifyingTransport(inside["_transport"], **options), _mounts=mounts)
    return client
