"""Paths: the place of a value in the parameters, written as the API writes it in its errors.

The place of a value that cannot be sent is put together while its exception passes up through the
containers. So a value that can be sent costs nothing for it.
"""

from typing import Final, TypeAlias

from ..errors import printable

__all__: list[str] = []

Path: TypeAlias = tuple[str | int, ...]
"""The place of a value in the parameters, for example ("messages", 1, "content", 0)."""

NAME_CHARACTERS: Final = 200
"""The maximum length of a name in an error message.

A peer chooses the names of blocks and of their members, so they may be of any length.
"""


class RefusedError(Exception):
    """Why a value cannot be sent. It never leaves this package: `error` is raised in its place.

    Args:
        kind: the class of the exception for the caller: ValueError or TypeError.
        reason: what is wrong with the value.
        steps: the place of the value below the container that raises this.

    Attributes:
        reason: what is wrong with the value.
    """

    def __init__(self, kind: type[TypeError | ValueError], reason: str, *steps: str | int) -> None:
        super().__init__(reason)
        self._kind = kind
        self.reason = reason
        self._steps = [*reversed(steps)]  # the innermost one is the first

    def below(self, step: str | int) -> None:
        """Put a step before the path: the index or the name of the value in its container."""
        self._steps.append(step)

    @property
    def path(self) -> Path:
        """The path so far."""
        return (*reversed(self._steps),)

    @property
    def error(self) -> TypeError | ValueError:
        """The exception for the caller. Its message begins with the path, if there is one."""
        path = named(self.path)
        return self._kind(f"{path}: {self.reason}" if path else self.reason)


def named(path: Path) -> str:
    """Return a path as the API writes it in its errors: "messages.1.content.0"."""
    return printable(".".join(map(str, path)), NAME_CHARACTERS)
