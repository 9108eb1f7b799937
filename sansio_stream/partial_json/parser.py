"""The parser: what may be asked of a text that is still growing."""

from typing import Any, Final

from .decoding import decode
from .errors import InvalidJSONError
from .scanner import Scanner
from .tokens import END, IN_NUMBER, WHOLE_NUMBER

__all__ = ["PartialJSON"]

_REFUSED: Final = "an integer has more digits than Python converts"


class PartialJSON(Scanner):
    """The value of a JSON text that is still growing.

    `push` only keeps the text; it is worked off when something is asked, each character once. The
    same text gives the same answers, however it was cut and whenever one asked. A pickle or a
    copy has the same text and goes on alone.
    """

    def __init__(self, partial_strings: bool = True, *, max_depth: int = 512) -> None:
        super().__init__(partial_strings, max_depth)

    def __reduce__(self) -> tuple[Any, ...]:
        # As a text: its containers may nest deeper than pickle and deepcopy can go.
        text = "".join(self._past + self._pushed)
        return _restore, (type(self), self._partial_strings, self._max_depth, text)

    def push(self, text: str) -> None:
        """Add the next piece of the text; never raises for what is in it."""
        self._pushed.append(text)

    @property
    def value(self) -> Any:
        """The value of what came so far, None where there is none yet; never raises.

        A string is shown as far as it came (with `partial_strings=False` when it is whole), a
        number where it is one as it stands (up to 4,300 characters, longer ones when they are
        whole); keys, literals and escapes when they are whole. Of a dead text it is the value of
        what stands before `dead_at`. None takes the place of an integer that Python refuses.

        Lists and dicts grow in place: read only, and valid until the next `push`. To read after
        each push costs no more than the text is long, but a `str` that the caller keeps while it
        grows is copied.
        """
        if self._pushed:
            self._scan()
        return self._root[0] if self._root else None

    @property
    def dead_at(self) -> int | None:
        """Index of the first character after which no JSON text can follow; None without one.

        It counts code points over all that was pushed. What is pushed later changes nothing.
        """
        if self._pushed:
            self._scan()
        return self._death[1] if self._death else None

    @property
    def dead_reason(self) -> str | None:
        """Why no JSON text can follow, for the person who reads it; None where `dead_at` is."""
        if self._pushed:
            self._scan()
        return self._death[0] if self._death else None

    def finish(self) -> Any:
        """The value of the whole text, equal to that of `json.loads`.

        Raises `InvalidJSONError` where the text is dead, unfinished or empty, or holds an integer
        that Python refuses to convert. Changes nothing: more may be pushed after it.
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
            raise InvalidJSONError(f"the text ends before {expected}", self._scanned)
        return self._root[0]

    def _adopt(self) -> None:
        """Let C parse what nobody has looked at, if it is a whole array or object."""
        text = "".join(self._pushed)
        try:
            value = decode(text, self._max_depth)
        except (ValueError, RecursionError):
            return  # the scan finds the place and the reason, and needs no recursion
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
    """Return a parser that has been given a text: what a pickle or a copy is made of."""
    restored = cls(strings, max_depth=max_depth)
    restored.push(text)
    return restored
