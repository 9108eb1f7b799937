"""Fake byte sources: iterators of bytes that deliver, pause, raise or end, step by step.

They behave like the body iterator of an HTTP library on a failing connection, without such a
library and without a connection.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Self, TypeAlias

__all__ = ["AsyncByteSource", "AsyncStep", "ByteSource", "Step"]

AnyException: TypeAlias = BaseException | type[BaseException]

Step: TypeAlias = bytes | AnyException | Callable[[], object]
"""One step of a source. Bytes are delivered. An exception, or a class of exceptions, is raised.
Anything else is called: for example, to pause (`lambda: time.sleep(1)`), or to check a condition.
"""

AsyncStep: TypeAlias = bytes | AnyException | Callable[[], Awaitable[object]]
"""A `Step` of an asynchronous source. The result of a call is awaited. Examples of calls:
`trio.lowlevel.checkpoint`, `lambda: asyncio.sleep(1)`.
"""


class ByteSource:
    r"""An iterator of bytes that does the given steps and can be closed.

        source = ByteSource([b"event: pi", b"ng\n", ConnectionResetError()])

    Each `next` does the steps up to the next bytes. The iterator ends after an exception, and after
    the last step.

    Attributes:
        delivered: the number of bytes that were delivered.
        closed: whether it was closed, by `close` or by its `with` block. It then delivers nothing.
    """

    def __init__(self, steps: Iterable[Step]) -> None:
        self._steps = iter(steps)
        self.delivered = 0
        self.closed = False

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes:
        for step in self._steps:
            if self.closed:
                break
            if isinstance(step, bytes):
                self.delivered += len(step)
                return step
            # The source has ended if this step raises.
            steps, self._steps = self._steps, iter(())
            if isinstance(step, (BaseException, type)):
                failure: Any = step
                raise failure
            step()
            self._steps = steps
        raise StopIteration

    def close(self) -> None:
        """Deliver nothing more."""
        self.closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class AsyncByteSource:
    """A `ByteSource` as an asynchronous iterator, for any event loop. `aclose` closes it."""

    def __init__(self, steps: Iterable[AsyncStep]) -> None:
        self._steps = iter(steps)
        self.delivered = 0
        self.closed = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        for step in self._steps:
            if self.closed:
                break
            if isinstance(step, bytes):
                self.delivered += len(step)
                return step
            # The source has ended if this step raises.
            steps, self._steps = self._steps, iter(())
            if isinstance(step, (BaseException, type)):
                failure: Any = step
                raise failure
            await step()
            self._steps = steps
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """Deliver nothing more."""
        self.closed = True

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()
