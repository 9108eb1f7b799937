"""The parser: the value of a JSON text that is still growing."""

from __future__ import annotations

from typing import Any

from .decoding import decode
from .scanner import Scanner

__all__ = ["PartialJSON"]


class PartialJSON:
    """The value of a JSON text that is still growing.

    Strategy: `push` only stores the text. The properties and `finish` scan what is new, so each
    character is scanned once. The answers depend only on the text. They depend neither on where it
    was cut into pieces nor on earlier reads. A pickle or a copy has the same text and is
    independent of the original.

    Args:
        partial_strings: whether `value` shows an unfinished string.
        max_depth: how many arrays and objects may be nested.
    """

    def __init__(self, partial_strings: bool = True, *, max_depth: int = 512) -> None:
        self._partial_strings = partial_strings
        self._max_depth = max_depth
        self._scanner = Scanner(partial_strings, max_depth)
        self._pushed: list[str] = []  # pieces that are not scanned yet
        self._past: list[str] = []  # pieces that are scanned

    def __reduce__(self) -> tuple[Any, ...]:
        # The state is the text, because pickle and deepcopy recurse: a deep value would exceed
        # the recursion limit.
        text = "".join(self._past + self._pushed)
        return _restore, (type(self), self._partial_strings, self._max_depth, text)

    def push(self, text: str) -> None:
        """Add the next piece of the text. This never raises, even if the text is invalid."""
        self._pushed.append(text)

    @property
    def value(self) -> Any:
        """The value of the text so far; None if there is none yet. Never raises.

        - An unfinished string has its characters so far. With `partial_strings=False` it is left
          out until it is complete.
        - An unfinished number is included if its characters so far are a number, up to 4,300
          characters. A longer one is left out until it is complete.
        - Keys, literals and escape sequences are left out until they are complete.
        - If the text has become invalid, this is the value of the text before `dead_at`.
        - None replaces an integer that has more digits than Python converts.

        Lists and dicts grow in place. The caller must not change them, and they are valid until
        the next `push`. Cost: if the value is read after every push, all reads together take time
        linear in the length of the text. There is one exception: if the caller keeps a reference to
        a growing `str`, the next read copies it.
        """
        return self._scan().value

    @property
    def dead_at(self) -> int | None:
        """Index of the first character that makes the text invalid, whatever follows it.

        None if the text so far may still become a JSON text. The index counts code points from
        the start of the text. Once it is set, later pushes do not change it.
        """
        error = self._scan().error
        return None if error is None else error.position

    @property
    def dead_reason(self) -> str | None:
        """Why the character at `dead_at` makes the text invalid, as a clause for people.

        None if `dead_at` is None.
        """
        error = self._scan().error
        return None if error is None else error.reason

    def finish(self) -> Any:
        """Return the value of the complete text. It equals that of `json.loads`.

        The call changes no answer, so more text may be pushed afterwards.

        Raises:
            InvalidJSONError: if the text is invalid, unfinished or empty, nests deeper than
                `max_depth`, or contains an integer that Python refuses to convert.
        """
        if not self._scanner.length:
            self._adopt()
        return self._scan().finish()

    def _scan(self) -> Scanner:
        """Scan what is new. Return the scanner."""
        scanner = self._scanner
        if self._pushed:
            text = "".join(self._pushed)
            self._pushed.clear()
            if scanner.error is None:
                self._past.append(text)
                scanner.scan(text)
        return scanner

    def _adopt(self) -> None:
        """Parse the text by the C code of `json`, and give the value to the scanner.

        Does nothing if the text is not a complete array or object. The scanner must not have
        scanned any of the text yet.
        """
        text = "".join(self._pushed)
        try:
            value = decode(text, self._max_depth)
        except (ValueError, RecursionError):
            return  # the scanner finds the position and reason of the error, and does not recurse
        if isinstance(value, (list, dict)):
            self._scanner.adopt(value, len(text))
            self._past, self._pushed = self._pushed, []


def _restore(cls: type[PartialJSON], strings: bool, max_depth: int, text: str) -> PartialJSON:
    """Return a parser with this text. Pickles and copies call it."""
    restored = cls(strings, max_depth=max_depth)
    restored.push(text)
    return restored
