r"""Lays out a growing JSON text while it arrives: fragments in, pieces and their roles out.

The role of a piece says what the piece is, such as a key or a string. The text is only split into
tokens, not parsed. So each fragment gives its pieces at once, even if the text is not JSON. An
escape sequence stays as it was sent. A line may end after the escape `\n`. This module does not
print.

Cost: one regular expression over each fragment. The indentation is bounded.
"""

from __future__ import annotations

import enum
import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Layout", "Role"]

TOKEN: Final = re.compile(r'\s+|["{}\[\],:]|[^\s"{}\[\],:]+')
IN_STRING: Final = re.compile(r'\\|"|[^"\\]+')

# The deepest indentation in steps. Without a bound, the lines of an endless "[[[[" would have a
# total length that grows with the square of the input.
DEEPEST: Final = 20
STEP: Final = "  "


class Role(enum.Enum):
    """The role of a piece. `_answer_view` has a style for each role."""

    MARK = "mark"
    KEY = "key"
    STRING = "string"
    WORD = "word"
    BREAK = "break"
    """A place inside a string at which a line may end. The piece is empty."""


class Layout:
    """The layout of one growing text."""

    def __init__(self) -> None:
        self._open: list[str] = []
        self._role = Role.STRING
        self._in_string = False
        self._escaped = False
        self._expects_key = False
        self._just_opened = False
        # White space is shown only between two adjacent values: `1 2` must not become `12`. JSON
        # does not allow that, but the text may not be JSON.
        self._after_value = False
        self._gap = False

    def feed(self, fragment: str) -> Iterator[tuple[str, Role]]:
        """Yield each piece of the next fragment, with its role."""
        at = 0
        while at < len(fragment):
            if self._escaped:
                self._escaped = False
                yield fragment[at], self._role
                if fragment[at] == "n":
                    yield "", Role.BREAK
                at += 1
                continue
            match = (IN_STRING if self._in_string else TOKEN).match(fragment, at)
            assert match is not None, "each pattern matches any character"  # noqa: S101
            at = match.end()
            yield from self._string(match[0]) if self._in_string else self._token(match[0])

    def _string(self, piece: str) -> Iterator[tuple[str, Role]]:
        self._in_string = piece != '"'
        self._escaped = piece == "\\"
        self._after_value = not self._in_string
        yield piece, self._role

    def _token(self, piece: str) -> Iterator[tuple[str, Role]]:
        if piece.isspace():
            self._gap = self._after_value
            return
        if piece in "}]":
            if self._open:
                self._open.pop()
            if not self._just_opened:
                yield self._new_line()
            self._just_opened = self._expects_key = self._gap = False
            self._after_value = True
            yield piece, Role.MARK
            return
        if self._just_opened:
            self._just_opened = False
            yield self._new_line()
        if self._gap and piece not in ",:":
            yield " ", Role.MARK
        self._gap = self._after_value = False
        match piece:
            case "{" | "[":
                self._open.append(piece)
                self._just_opened = True
                self._expects_key = piece == "{"
                yield piece, Role.MARK
            case ",":
                self._expects_key = self._open[-1:] == ["{"]
                yield piece, Role.MARK
                yield self._new_line()
            case ":":
                self._expects_key = False
                yield ": ", Role.MARK
            case '"':
                self._in_string = True
                self._role = Role.KEY if self._expects_key else Role.STRING
                yield piece, self._role
            case _:
                self._after_value = True
                yield piece, Role.WORD

    def _new_line(self) -> tuple[str, Role]:
        return "\n" + STEP * min(len(self._open), DEEPEST), Role.MARK
