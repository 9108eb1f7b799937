"""The value of a text so far: its containers, and the place of the next value."""

from __future__ import annotations

from typing import Any, Final, TypeAlias

from .tokens import (
    AFTER_ITEM,
    AFTER_MEMBER,
    END,
    FIRST_ITEM,
    FIRST_KEY,
    IN_STRING,
    MINUS,
    VALUE,
    WHOLE_INTEGER,
    WHOLE_NUMBER,
)

# An unfinished number with more characters is not in the value. This is CPython's default limit for
# the digits of an integer. To convert a long number again at each read would cost the square of its
# length.
_LONGEST_SHOWN: Final = 4300
_ABSENT: Final = object()

_Container: TypeAlias = list[Any] | dict[str, Any]


class GrowingValue:
    """Containers that grow in place, and the state: what the text may have next.

    Args:
        partial_strings: whether the value includes an unfinished string.
    """

    def __init__(self, partial_strings: bool) -> None:
        self._partial_strings = partial_strings
        self._refused_at: int | None = None  # index of the first integer that Python refused

        self._state: str = VALUE
        self._after: str = END  # the state after a value in the innermost container
        self._root: list[Any] = []  # a list whose only item is the value of the whole text
        self._top: _Container = self._root  # the innermost open container
        self._outer: list[_Container] = []  # the open containers around `_top`
        self._place: Any = -1  # the place of the newest value in `_top`: its key, or -1 in a list

        self._token = ""  # an unfinished string (unescaped), number or literal
        self._part = MINUS  # the part of an unfinished number that was scanned last
        self._shown = False  # whether an unfinished number is in its container
        self._older: Any = _ABSENT  # the value before this number, if the key came twice

    @property
    def value(self) -> Any:
        """The value of the text so far; None if there is none yet."""
        return self._root[0] if self._root else None

    def _open(self, *, is_object: bool) -> None:
        container: _Container = {} if is_object else []
        self._put(container)
        self._outer.append(self._top)
        self._top = container
        if is_object:
            self._state, self._after = FIRST_KEY, AFTER_MEMBER
        else:
            self._state, self._after, self._place = FIRST_ITEM, AFTER_ITEM, -1

    def _close(self) -> None:
        self._top = self._outer.pop()
        if isinstance(self._top, list):
            self._after = AFTER_ITEM if self._outer else END
            self._place = -1
        else:
            self._after = AFTER_MEMBER
        self._state = self._after

    def _put(self, value: Any) -> None:
        """Put a new value in its place in the innermost container."""
        if isinstance(self._top, list):
            self._top.append(value)
        else:
            self._top[self._place] = value

    def _grow_token(self, characters: str) -> None:
        """Add characters to the unfinished string, in IN_STRING and IN_KEY."""
        # CPython adds to a str in place while a local variable holds the only reference to it.
        token, self._token = self._token, ""
        if self._partial_strings and self._state is IN_STRING:
            container: Any = self._top
            place = self._place
            container[place] = None
            token += characters
            container[place] = token
        else:
            token += characters
        self._token = token

    def _put_integer(self, digits: str, at: int) -> None:
        try:
            self._put(int(digits))
        except ValueError:
            self._put(None)
            if self._refused_at is None:
                self._refused_at = at

    def _number(self) -> int | float:
        """Return the unfinished number as if it ended here.

        Raises ValueError if Python refuses to convert it.
        """
        return int(self._token) if self._part in WHOLE_INTEGER else float(self._token)

    def _show_number(self) -> None:
        """Put the unfinished number into its container, if its characters so far are a number."""
        if self._part not in WHOLE_NUMBER or len(self._token) > _LONGEST_SHOWN:
            return
        try:
            number = self._number()
        except ValueError:
            return
        top = self._top
        self._older = top.get(self._place, _ABSENT) if isinstance(top, dict) else _ABSENT
        self._put(number)
        self._shown = True

    def _hide_number(self) -> None:
        """Remove the unfinished number from its container, before more of it is scanned."""
        self._shown = False
        container: Any = self._top
        if self._older is _ABSENT:
            del container[self._place]
        else:
            container[self._place] = self._older
