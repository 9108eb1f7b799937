"""The common part of the transports for httpx and httpx2: which library, what a checker sees.

A transport learns the library from the request, because both libraries have the same interface.
"""

from __future__ import annotations

import sys
from functools import cache
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from types import TracebackType

    import httpx
    import httpx2

__all__ = ["Transport", "body_class", "library_of"]

LIBRARIES = ("httpx", "httpx2")

if TYPE_CHECKING:

    class AnyTransport(
        httpx.BaseTransport,
        httpx.AsyncBaseTransport,
        httpx2.BaseTransport,
        httpx2.AsyncBaseTransport,
    ):
        """A transport of both libraries, synchronous and asynchronous."""

        def handle_request(self, request: Any) -> Any: ...
        async def handle_async_request(self, request: Any) -> Any: ...
        def __enter__(self) -> Self: ...
        def __exit__(
            self,
            exc_type: type[BaseException] | None = None,
            exc_value: BaseException | None = None,
            traceback: TracebackType | None = None,
        ) -> None: ...
        async def __aenter__(self) -> Self: ...
        async def __aexit__(
            self,
            exc_type: type[BaseException] | None = None,
            exc_value: BaseException | None = None,
            traceback: TracebackType | None = None,
        ) -> None: ...

else:
    # No subclass at run time: neither library looks at the class of a transport, one of them may
    # be missing, and the official SDK refuses whatever derives from a class of httpx.
    AnyTransport = object


class Transport(AnyTransport):
    """A transport that needs no `with`."""

    def close(self) -> None:
        """Release the connections of a synchronous client."""

    async def aclose(self) -> None:
        """Release the connections of an asynchronous client."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        await self.aclose()


def library_of(request: object) -> Any:
    """Return the library of a request: httpx or httpx2.

    Raises:
        TypeError: the object is a request of neither library.
    """
    for kind in type(request).__mro__:
        name = kind.__module__.partition(".")[0]
        if name in LIBRARIES:
            return sys.modules[name]
    raise TypeError(f"the request is of neither httpx nor httpx2: {type(request).__name__}")


@cache
def body_class(own: Any, library: Any) -> Any:
    """Return a subclass of `own` that the library accepts as the body of a response."""
    return type(own.__name__, (own, library.SyncByteStream, library.AsyncByteStream), {})
