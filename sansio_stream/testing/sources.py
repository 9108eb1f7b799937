"""Fake byte sources: a script in, an iterator of bytes out that delivers, pauses, raises or ends as
the script says.

What an HTTP library's body iterator does on a bad day, without an HTTP library.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Self, TypeAlias

__all__ = ["AsyncByteSource", "AsyncStep", "ByteSource", "Step"]

AnException: TypeAlias = BaseException | type[BaseException]

Step: TypeAlias = bytes | AnException | Callable[[], object]
"""One step of a source: bytes are delivered; an exception, or a class of them, is raised; anything
else is called, which is how a source pauses (`lambda: time.sleep(1)`), or looks at the world.
"""

AsyncStep: TypeAlias = bytes | AnException | Callable[[], Awaitable[object]]
"""As `Step`; what is called is awaited (`trio.lowlevel.checkpoint`, `lambda: asyncio.sleep(1)`)."""


class ByteSource:
    r"""An iterator of bytes that follows a script, ends with it, and can be closed.

        source = ByteSource([b"event: pi", b"ng\n", ConnectionResetError()])

    A step is done when it is asked for. After an exception, as after the last step, there is
    nothing more.

    Attributes:
        delivered: how many bytes were delivered.
        closed: whether somebody closed it, or left its `with` block. It then delivers nothing.
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
            # After whatever raises there is nothing more.
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
    """The same as an asynchronous iterator, for any event loop. `aclose` closes it."""

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
            # After whatever raises there is nothing more.
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
