"""The input of a growing tool call: its raw text, its display value, and its final strict parse.

The display value is the value of the text so far. It is for people to see, not for programs to act
on. This module knows nothing of blocks or events. It never guesses: a text that is not exactly one
JSON object gives no input.

Cost: appending a piece takes constant time. Reading the display value after every piece takes, in
total, time linear in the text.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypeAlias

import attrs

from .codec import is_array, is_object
from .frozen import HashableValue
from .growing import BEGINNING, GrowingText
from .partial_json import InvalidJSONError, Scanner, loads
from .surrogates import is_high_surrogate, joined_halves

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["InputError", "InputState"]

InputState: TypeAlias = Literal["complete", "invalid", "incomplete"]
"""The state of a tool input.

* "complete": the block has stopped, and no piece of the input was lost. A strict parse of the text
  gave an object, or no text came and the block began with an object.
* "invalid": the block has stopped, but the input is not one JSON object, or a piece of it was lost.
* "incomplete": everything else. The block is running, it was cut off, or no input was sent.
"""


@attrs.frozen(eq=False, repr=False)
class InputError(HashableValue):
    """Why an input is invalid.

    Attributes:
        position: the index of the character in `input_json` at which the fault was found.
        reason: what is wrong there.
    """

    position: int
    reason: str


class GrowingInput(GrowingText):
    """The text of one input. The running block and its snapshots share it.

    Args:
        partial_strings: whether the display value has the beginning of an unfinished string.
        max_depth: how many arrays and objects may be nested.
    """

    __slots__ = ("_scanned", "_scanner", "_unscanned_half", "max_depth", "partial_strings")

    def __init__(self, *, partial_strings: bool, max_depth: int) -> None:
        super().__init__()
        self.partial_strings = partial_strings
        self.max_depth = max_depth
        self._begin_scan()

    def _begin_scan(self) -> None:
        self._scanner: Scanner | None = None
        # The scanner has scanned the text before this place. If this text ends in the first half of
        # a surrogate pair, the scanner gets that half later, together with the second half.
        self._scanned = BEGINNING
        self._unscanned_half = ""

    def _new_scanner(self) -> Scanner:
        return Scanner(self.partial_strings, self.max_depth)

    def joined(self) -> GrowingInput:
        """Return a copy with the whole text as one piece, for an input that grows no more."""
        joined = GrowingInput(partial_strings=self.partial_strings, max_depth=self.max_depth)
        if self.has_grown:
            joined.append(self.whole())
        return joined

    def partial_value(self, length: int) -> Any:
        """Return the display value of the text of the moment at which it had this length.

        If that is the whole text so far, the lists and dicts in the value change when later pieces
        are read. Cost: linear in the pieces that came since the last such value. For an earlier
        moment: linear in the text.
        """
        position, _, _ = self._scanned
        if length < position:
            return self._earlier_value(length)
        piece, place = self.read(self._scanned, length)
        _, run, _ = place
        if run is None:  # the text does not end there
            return self._earlier_value(length)
        scanner = self._scanner
        if scanner is None:
            scanner = self._scanner = self._new_scanner()
        self._scanned = place
        if self.has_halves:
            piece = joined_halves(self._unscanned_half + piece)
            self._unscanned_half = piece[len(without_half(piece)) :]
            piece = without_half(piece)
        return scanner.scan(piece) if piece else scanner.value

    def _earlier_value(self, length: int) -> Any:
        return self._new_scanner().scan(without_half(self.text(length)))

    def __getstate__(self) -> tuple[Any, ...]:
        # The scanner is left out, because it can be made again from the text.
        return *super().__getstate__(), self.partial_strings, self.max_depth

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        *others, self.partial_strings, self.max_depth = state
        super().__setstate__(tuple(others))
        self._begin_scan()


def without_half(text: str) -> str:
    """Return a text without a first half of a surrogate pair at its end.

    The second half may still come.
    """
    return text[:-1] if is_high_surrogate(text[-1:]) else text


def holds_infinity(value: Any) -> bool:
    """Whether a value has an infinite number, as `1E400` gives. JSON cannot represent it."""
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, float) and math.isinf(each):
            return True
        waiting.extend(each.values() if is_object(each) else each if is_array(each) else ())
    return False


new_tuple: Final[Callable[[type[Any], tuple[Any, ...]], Any]] = vars(tuple)["__new__"]
"""Makes a `NamedTuple` without a call of its own `__new__`, which is a Python function."""


class ToolInput(NamedTuple):
    """A tool input at one moment, as the block of a snapshot stores it.

    It is a tuple because each read of a running block makes a new one. That takes 0.3 µs, and 0.7
    µs with a frozen attrs class.

    Attributes:
        growing: the text, which may have grown since this moment.
        length: the length of the text at this moment.
        start: the input with which the block began, or None.
        state: see `InputState`.
        error: why the state is "invalid"; None in any other state.
        value: the input if the state is "complete"; None in any other state.
    """

    growing: GrowingInput
    length: int
    start: Any
    state: InputState = "incomplete"
    error: InputError | None = None
    value: dict[str, Any] | None = None

    @classmethod
    def running(cls, growing: GrowingInput, start: Any) -> ToolInput:
        """Return the present input of a block that is running or was cut off."""
        members: tuple[Any, ...] = (growing, growing.length(), start, "incomplete", None, None)
        made: ToolInput = new_tuple(cls, members)
        return made

    @classmethod
    def started(cls, start: Any) -> ToolInput:
        """Return the input of a block that has just started. It is incomplete: more may come."""
        return cls(GrowingInput(partial_strings=True, max_depth=0), 0, start)

    @classmethod
    def broken(cls, growing: GrowingInput, start: Any, error: InputError) -> ToolInput:
        """Return the input of a block that has stopped after a piece of the input was lost."""
        return cls(growing, growing.length(), start, "invalid", error)

    @classmethod
    def stopped(cls, growing: GrowingInput, start: Any) -> ToolInput:
        """Return the input of a block that has stopped.

        A text that is not empty replaces the input with which the block began. An empty text does
        not.
        """
        count = growing.length()
        text = growing.text(count)
        value = start
        if text:
            try:
                value = loads(text, growing.max_depth, finite=True)
            except InvalidJSONError as error:
                reason = InputError(error.position, error.reason)
                return cls(growing, count, start, "invalid", reason)
        elif start is None:
            return cls(growing, count, start)
        elif holds_infinity(start):
            reason = InputError(0, "a number is too large for a float")
            return cls(growing, count, start, "invalid", reason)
        if is_object(value):
            return cls(growing, count, start, "complete", value=value)
        return cls(growing, count, start, "invalid", InputError(0, "not a JSON object"))

    def to_dict(self) -> dict[str, Any]:
        """Return everything except the value as a JSON object, for `from_dict`."""
        return {
            "text": self.text,
            "start": self.start,
            "state": self.state,
            "error": None if self.error is None else attrs.asdict(self.error),
            "partial_strings": self.growing.partial_strings,
            "max_depth": self.growing.max_depth,
        }

    @classmethod
    def from_dict(cls, kept: dict[str, Any], value: Any) -> ToolInput:
        """Return the input that `to_dict` has stored.

        Args:
            kept: the result of `to_dict`.
            value: the input in the wire form of the block. It is used if the state is "complete".
        """
        growing = GrowingInput(partial_strings=kept["partial_strings"], max_depth=kept["max_depth"])
        if kept["text"]:
            growing.append(kept["text"])
        error = None if kept["error"] is None else InputError(**kept["error"])
        is_complete = kept["state"] == "complete"
        value = value if is_complete and is_object(value) else None
        return cls(growing, growing.length(), kept["start"], kept["state"], error, value)

    @property
    def text(self) -> str:
        """The raw text at this moment."""
        return self.growing.text(self.length)

    def partial_value(self) -> Any:
        """Return the display value. It may be unfinished, so never act on it."""
        if self.value is not None:
            return self.value
        # While the text is empty, the input is the one with which the block began. The API sends an
        # empty first delta, which may be the only one.
        value = self.growing.partial_value(self.length)
        return self.start if value is None and not self.length else value
