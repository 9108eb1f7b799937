"""The input of a growing tool call: fragments in; raw text, display value, one strict parse out.

Knows nothing of blocks or events. No guessing: what is not one whole JSON object is no input.

Cost: appending is constant; the display value, read after each fragment, is linear in total.
"""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple, TypeAlias

import attrs

from .codec import is_array, is_object
from .partial_json import InvalidJSONError, PartialJSON, loads
from .surrogates import ends_in_half, is_high_half, joined_halves

__all__ = ["InputError", "InputState"]

InputState: TypeAlias = Literal["complete", "invalid", "incomplete"]
"""complete: the block has stopped and a strict parse gave an object, or no text came and an object
was sent at its start, and nothing of it was lost. invalid: it has stopped, and the input is not one
JSON object, or a piece of it was lost. incomplete: everything else, running or cut.
"""


@attrs.frozen
class InputError:
    """Why an input is invalid: where in `input_json` (an index of characters), and the reason."""

    position: int
    reason: str


class GrowingText:
    """The fragments of one input, shared by the running block and by the snapshots taken of it.

    Fragments are only ever added, so "the first n" is an immutable text that costs nothing.
    """

    __slots__ = (
        "_half",
        "_has_halves",
        "_parser",
        "_pushed",
        "fragments",
        "max_depth",
        "partial_strings",
    )

    def __init__(self, *, partial_strings: bool, max_depth: int) -> None:
        self.fragments: list[str] = []
        self.partial_strings = partial_strings
        self.max_depth = max_depth
        self._parser: PartialJSON | None = None
        self._pushed = 0
        # Whether a pair of surrogates may be cut between two fragments; and the first half of one
        # that the parser has not been given, because the other half has not come.
        self._has_halves = False
        self._half = ""

    def _new_parser(self) -> PartialJSON:
        return PartialJSON(self.partial_strings, max_depth=self.max_depth)

    def append(self, fragment: str) -> None:
        """Add a fragment."""
        self.fragments.append(fragment)
        if not fragment.isascii() and ends_in_half(fragment):
            self._has_halves = True

    def __len__(self) -> int:
        """How many fragments there are."""
        return len(self.fragments)

    def text(self, count: int) -> str:
        """Return the first `count` fragments, joined."""
        text = "".join(self.fragments[:count])
        return joined_halves(text) if self._has_halves else text

    def joined(self) -> GrowingText:
        """Return a new one with all the text in one piece, for an input that grows no more."""
        whole = GrowingText(partial_strings=self.partial_strings, max_depth=self.max_depth)
        if self.fragments:
            whole.append(self.text(len(self)))
        return whole

    def partial_value(self, count: int) -> Any:
        """Return the display value of the first `count` fragments; live if there are no more."""
        if count < len(self.fragments):
            earlier = self._new_parser()
            earlier.push(without_half(self.text(count)))
            return earlier.value
        if self._parser is None:
            self._parser = self._new_parser()
        if self._pushed < count:
            piece = self._half + "".join(self.fragments[self._pushed : count])
            if self._has_halves:
                piece = joined_halves(piece)
                self._half = piece[len(without_half(piece)) :]
                piece = without_half(piece)
            self._parser.push(piece)
            self._pushed = count
        return self._parser.value

    def __getstate__(self) -> tuple[list[str], bool, int, bool]:
        # The parser can be made again; half-built containers need not be pickled.
        return self.fragments, self.partial_strings, self.max_depth, self._has_halves

    def __setstate__(self, state: tuple[list[str], bool, int, bool]) -> None:
        self.fragments, self.partial_strings, self.max_depth, self._has_halves = state
        self._parser = None
        self._pushed = 0
        self._half = ""


def without_half(text: str) -> str:
    """Return a text without the first half of a pair at its end: the other may still come."""
    return text[:-1] if is_high_half(text[-1:]) else text


def holds_infinity(value: Any) -> bool:
    """Whether a JSON value has a number that no float holds (`1E400`), and that no JSON can."""
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, float) and math.isinf(each):
            return True
        waiting.extend(each.values() if is_object(each) else each if is_array(each) else ())
    return False


class ToolInput(NamedTuple):
    """One moment of a tool input, as a block of a snapshot holds it.

    A tuple, because one is made for each look at a block: 0.3 µs, a frozen attrs object 0.7.

    Attributes:
        growing: the text, which may have grown since.
        length: how many fragments it had at this moment.
        start: the input as the start block sent it, or None.
        state: see `InputState`.
        error: why the state is invalid, if it is.
        value: the input, if the state is complete.
    """

    growing: GrowingText
    length: int
    start: Any
    state: InputState = "incomplete"
    error: InputError | None = None
    value: dict[str, Any] | None = None

    @classmethod
    def running(cls, growing: GrowingText, start: Any) -> ToolInput:
        """Return the input as of now, while its block runs or after it was cut."""
        return cls(growing, len(growing), start)

    @classmethod
    def started(cls, start: Any) -> ToolInput:
        """Return the input of a block that has just started: whatever was sent may not be all."""
        return cls(GrowingText(partial_strings=True, max_depth=0), 0, start)

    @classmethod
    def broken(cls, growing: GrowingText, start: Any, error: InputError) -> ToolInput:
        """Return the input of a block that has stopped, and of which a piece was lost."""
        return cls(growing, len(growing), start, "invalid", error)

    @classmethod
    def stopped(cls, growing: GrowingText, start: Any) -> ToolInput:
        """Return the input of a block that has stopped.

        Text that is not empty wins over what the start block sent; an empty text never clears that.
        """
        count = len(growing)
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
        """Return what is to be known beside the value, as JSON; `from_dict` reads it."""
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
        """Return the input that was kept; `value` is what its block has, if it is complete."""
        growing = GrowingText(partial_strings=kept["partial_strings"], max_depth=kept["max_depth"])
        if kept["text"]:
            growing.append(kept["text"])
        error = None if kept["error"] is None else InputError(**kept["error"])
        is_complete = kept["state"] == "complete"
        value = value if is_complete and is_object(value) else None
        return cls(growing, len(growing), kept["start"], kept["state"], error, value)

    @property
    def text(self) -> str:
        """The raw text."""
        return self.growing.text(self.length)

    @property
    def partial_value(self) -> Any:
        """The display value; never a value to act on."""
        if self.value is not None:
            return self.value
        # "" means the start block's input: the first delta is empty, and it may be the only one.
        value = self.growing.partial_value(self.length)
        return self.start if value is None and not self.text else value
