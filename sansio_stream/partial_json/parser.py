"""The parser: the value of a JSON text that is still growing."""

from typing import Any, Final

from .decoding import decode
from .errors import InvalidJSONError
from .scanner import Scanner
from .tokens import END, IN_NUMBER, WHOLE_NUMBER

__all__ = ["PartialJSON"]

_REFUSED: Final = "an integer has more digits than Python converts"


class PartialJSON(Scanner):
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
        super().__init__(partial_strings, max_depth)

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
        if self._pushed:
            self._scan()
        return self._root[0] if self._root else None

    @property
    def dead_at(self) -> int | None:
        """Index of the first character that makes the text invalid, whatever follows it.

        None if the text so far may still become a JSON text. The index counts code points from
        the start of the text. Once it is set, later pushes do not change it.
        """
        if self._pushed:
            self._scan()
        return self._death[1] if self._death else None

    @property
    def dead_reason(self) -> str | None:
        """Why the character at `dead_at` makes the text invalid, as a clause for people.

        None if `dead_at` is None.
        """
        if self._pushed:
            self._scan()
        return self._death[0] if self._death else None

    def finish(self) -> Any:
        """Return the value of the complete text. It equals that of `json.loads`.

        The call changes no answer, so more text may be pushed afterwards.

        Raises:
            InvalidJSONError: if the text is invalid, unfinished or empty, nests deeper than
                `max_depth`, or contains an integer that Python refuses to convert.
        """
        if not self._scanned:
            self._adopt()
        if self._pushed:
            self._scan()
        if self._death:
            raise self._death_kind(*self._death)
        if self._refused_at is not None:
            raise InvalidJSONError(_REFUSED, self._refused_at)
        expected = self._state
        if expected is IN_NUMBER and self._part in WHOLE_NUMBER:
            expected = self._after
            if expected is END:
                return self._finish_number()
        if expected is not END:
            raise InvalidJSONError(f"the JSON text ends before {expected}", self._scanned)
        return self._root[0]

    def _adopt(self) -> None:
        """Parse the text by the C code of `json`, if it is a complete array or object.

        Nothing of the text may be scanned yet.
        """
        text = "".join(self._pushed)
        try:
            value = decode(text, self._max_depth)
        except (ValueError, RecursionError):
            return  # the scanner finds position and reason, and does not recurse
        if isinstance(value, (list, dict)):
            self._root.append(value)
            self._state = END
            self._scanned = len(text)
            self._past, self._pushed = self._pushed, []

    def _finish_number(self) -> int | float:
        try:
            return self._number()
        except ValueError:
            raise InvalidJSONError(_REFUSED, self._scanned - len(self._token)) from None


def _restore(cls: type[PartialJSON], strings: bool, max_depth: int, text: str) -> PartialJSON:
    """Return a parser with this text. Pickles and copies call it."""
    restored = cls(strings, max_depth=max_depth)
    restored.push(text)
    return restored
