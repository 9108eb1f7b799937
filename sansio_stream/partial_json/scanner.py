"""The scanner: pieces of a text in, their value out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeAlias

from .decoding import DECODER
from .errors import InvalidJSONError, TooDeepError
from .tokens import (
    AFTER_ITEM,
    CHARACTERS,
    COLON,
    CUT_ESCAPE,
    DIGIT_RUN,
    END,
    FIRST_ITEM,
    FIRST_PART,
    IN_KEY,
    IN_LITERAL,
    IN_NUMBER,
    IN_STRING,
    KEY,
    LEVELS,
    LITERALS,
    PARTS,
    RUN,
    TOKENS,
    VALUE,
    WHOLE_INTEGER,
    WHOLE_NUMBER,
    ZERO,
    many_items,
    matchers,
)
from .value import GrowingValue

# If more than _MANY characters are left, the scanner tries one pattern that matches many items of
# an array. The pattern reads at most _AT_ONCE characters.
_MANY: Final = 256
_AT_ONCE: Final = 65_536
# The new state after each token that changes nothing but the state.
_BEGUN: Final[Mapping[str | None, str]] = {"next_value": VALUE, "next_key": KEY, "in_key": IN_KEY}
_REFUSED: Final = "an integer has more digits than Python converts"
# The C function of `json`: a text and the index after a quote -> the string, and the index after
# the closing quote. It has no public name.
scan_string: Final[Callable[[str, int], tuple[str, int]]] = vars(DECODER)["parse_string"]

if TYPE_CHECKING:
    import re
    from collections.abc import Callable, Mapping

    # The first argument is the scanner. In the body of its class, the class has no name yet.
    Step: TypeAlias = Callable[[Any, str, int], int]
    TokenStep: TypeAlias = Callable[[Any, str, re.Match[str]], int]


class Scanner(GrowingValue):
    """The value of a text, built from the pieces of the text.

    The cost is linear in the text, wherever the text is cut. The scanner does not recurse, however
    deeply the text is nested.

    Attributes:
        length: the number of scanned characters.
        error: the first error of the text; None if the text may still become a JSON text.

    Args:
        partial_strings: whether the value includes an unfinished string.
        max_depth: how many arrays and objects may be nested.
    """

    def __init__(self, partial_strings: bool, max_depth: int) -> None:
        super().__init__(partial_strings)
        self._max_depth = max_depth
        self.length = 0
        self.error: InvalidJSONError | None = None
        self._held = ""  # a cut escape: at most 11 characters, scanned with the next piece

    def scan(self, text: str) -> Any:
        """Scan the next piece of the text. Return the value of the text so far.

        After an error, it is the value of the text before the error.
        """
        if self.error is None:
            self.length += len(text)
            if self._state is IN_STRING and not self._held and is_plain(text):
                # Most pieces of a tool input come here. To add one takes 4,900 instructions.
                # `_step_string` searches for the end of the string, and would take 10,200.
                self._grow_token(text)
            else:
                self._scan_tokens(text)
        return self._root[0] if self._root else None

    def adopt(self, value: Any, length: int) -> None:
        """Take the value of the whole text from another parser. Nothing may be scanned yet."""
        self._root.append(value)
        self._state = END
        self.length = length

    def finish(self) -> Any:
        """Return the value of the text, which must be complete. Changes nothing.

        Raises:
            InvalidJSONError: as `PartialJSON.finish` does.
        """
        if self.error is not None:
            raise type(self.error)(self.error.reason, self.error.position)
        if self._refused_at is not None:
            raise InvalidJSONError(_REFUSED, self._refused_at)
        expected = self._state
        if expected is IN_NUMBER and self._part in WHOLE_NUMBER:
            expected = self._after
            if expected is END:
                return self._finish_number()
        if expected is not END:
            raise InvalidJSONError(f"the JSON text ends before {expected}", self.length)
        return self._root[0]

    def _finish_number(self) -> int | float:
        try:
            return self._number()
        except ValueError:
            raise InvalidJSONError(_REFUSED, self.length - len(self._token)) from None

    # The steps. A step takes a text and a position in it. It consumes one token, or the part of it
    # that has arrived. It sets the next state and returns the position after the token.

    def _scan_tokens(self, text: str) -> None:
        if self._shown:
            self._hide_number()
        if self._held:
            text = self._held + text
            self._held = ""
        position = 0
        while position < len(text):
            position = self._STEPS[self._state](self, text, position)
        if self._state is IN_NUMBER:
            self._show_number()

    def _step_token(self, text: str, position: int) -> int:
        """Consume one token of `TOKENS`, or many items of an array, and set the next state."""
        if len(text) - position > _MANY and self._begins_item(text, position):
            comma = self._state is AFTER_ITEM
            items = many_items()(text, position + comma, position + _AT_ONCE)
            if items is not None:
                top: Any = self._top
                top.extend(DECODER.decode(f"[{items[0][:-1]}]"))
                self._state = VALUE
                return items.end()
        token = matchers[TOKENS[self._state]](text, position)
        if token is None:
            position = len(text) - len(text[position:].lstrip(" \t\n\r"))
            return self._fail(text, position, self._state)
        return self._TOKEN_STEPS[token.lastgroup](self, text, token)

    def _begins_item(self, text: str, position: int) -> bool:
        """Return whether `many_items` may be used at a position, or after a comma at it.

        The next token must begin an item of an array, and the deepest item that `many_items`
        matches must not exceed `max_depth`.
        """
        state = self._state
        is_next = (
            state is FIRST_ITEM
            or (state is AFTER_ITEM and text[position] == ",")
            or (state is VALUE and self._after is AFTER_ITEM)
        )
        return is_next and len(self._outer) + LEVELS <= self._max_depth

    # The steps of the tokens. Each gets the match of its token.

    def _take_space(self, _: str, token: re.Match[str]) -> int:
        return token.end()

    def _take_string(self, _: str, token: re.Match[str]) -> int:
        self._put(token["string"])
        self._state = self._after
        return token.end()

    def _take_integer(self, text: str, token: re.Match[str]) -> int:
        self._put_integer(token["int"], self._at(text, token.start("int")))
        self._state = self._after
        return token.end()

    def _take_float(self, _: str, token: re.Match[str]) -> int:
        self._put(float(token["float"]))
        self._state = self._after
        return token.end()

    def _take_literal(self, _: str, token: re.Match[str]) -> int:
        self._put(LITERALS[token["literal"][0]][1])
        self._state = self._after
        return token.end()

    def _take_open(self, text: str, token: re.Match[str]) -> int:
        if len(self._outer) == self._max_depth:
            limit = f"at most {self._max_depth} nested arrays and objects"
            return self._fail(text, token.end() - 1, limit, TooDeepError)
        self._open(is_object=token.lastgroup == "object")
        return token.end()

    def _take_close(self, _: str, token: re.Match[str]) -> int:
        self._close()
        return token.end()

    def _take_key(self, _: str, token: re.Match[str]) -> int:
        self._place = token["key"]
        self._state = VALUE
        return token.end()

    def _begin_string(self, _: str, token: re.Match[str]) -> int:
        if self._partial_strings:
            self._put("")
        self._state = IN_STRING
        return token.end()

    def _begin(self, _: str, token: re.Match[str]) -> int:
        self._state = _BEGUN[token.lastgroup]
        return token.end()

    def _begin_number(self, _: str, token: re.Match[str]) -> int:
        self._token = token["in_number"]
        self._part = FIRST_PART[self._token]
        self._state = IN_NUMBER
        return token.end()

    def _begin_literal(self, _: str, token: re.Match[str]) -> int:
        self._token = token["in_literal"]
        self._state = IN_LITERAL
        return token.end()

    _TOKEN_STEPS: ClassVar[Mapping[str | None, TokenStep]] = {
        None: _take_space,
        "string": _take_string,
        "int": _take_integer,
        "float": _take_float,
        "literal": _take_literal,
        "object": _take_open,
        "array": _take_open,
        "close": _take_close,
        "key": _take_key,
        "next_value": _begin,
        "next_key": _begin,
        "in_key": _begin,
        "in_string": _begin_string,
        "in_number": _begin_number,
        "in_literal": _begin_literal,
    }

    def _step_string(self, text: str, position: int) -> int:
        """Consume characters up to the closing quote, in IN_STRING and IN_KEY."""
        if text.startswith("\\", position) and end_of_escape(text, position) == len(text):
            # The code below would find the same. It would cost more for each piece of an escape.
            self._held = text[position:]
            return len(text)
        found = rest_of_string(text, position)
        if found is None:
            characters, position = characters_at(text, position)
            self._grow_token(characters)
            return self._cut_characters(text, position)
        characters, end = found
        self._grow_token(characters)
        if end > len(text):
            return len(text)
        if self._state is IN_KEY:
            self._place = self._token
            self._state = COLON
        else:
            if not self._partial_strings:
                self._put(self._token)
            self._state = self._after
        self._token = ""
        return end

    def _cut_characters(self, text: str, position: int) -> int:
        """Handle a string whose next character cannot be consumed.

        Either the text ends there, perhaps inside an escape, or the character is invalid.
        """
        end = end_of_escape(text, position)
        if end < len(text):
            control = text[end] < " "
            expected = "an escaped control character" if control else "a valid escape"
            return self._fail(text, end, expected)
        self._held = text[position:]
        return end

    def _step_number(self, text: str, position: int) -> int:
        """Consume characters of a number, in IN_NUMBER.

        The first character that cannot belong to the number ends it. The text is invalid if the
        number is unfinished at that character.
        """
        start = position
        while position < len(text):
            part = PARTS[self._part].get(text[position])
            if part is None:
                break
            self._part = part
            digits = None if part is ZERO else matchers[DIGIT_RUN](text, position)
            position = digits.end() if digits else position + 1
        token, self._token = self._token, ""  # so that `+=` adds in place; see `_grow_token`
        token += text[start:position]
        if position == len(text):
            self._token = token
            return position
        if self._part not in WHOLE_NUMBER:
            return self._fail(text, position, IN_NUMBER)
        if self._part in WHOLE_INTEGER:
            self._put_integer(token, self._at(text, position) - len(token))
        else:
            self._put(float(token))
        self._state = self._after
        return position

    def _step_literal(self, text: str, position: int) -> int:
        """Consume letters of a literal, in IN_LITERAL."""
        word, value = LITERALS[self._token[0]]
        for letter in word[len(self._token) :]:
            if position == len(text):
                return position
            if text[position] != letter:
                return self._fail(text, position, word)
            self._token += letter
            position += 1
        self._put(value)
        self._token = ""
        self._state = self._after
        return position

    _STEPS: ClassVar[Mapping[str, Step]] = {
        **dict.fromkeys(TOKENS, _step_token),
        IN_STRING: _step_string,
        IN_KEY: _step_string,
        IN_NUMBER: _step_number,
        IN_LITERAL: _step_literal,
    }

    def _at(self, text: str, position: int) -> int:
        """Return the index in the whole text of a position in the text that is being scanned."""
        return self.length - len(text) + position

    def _fail(
        self,
        text: str,
        position: int,
        expected: str,
        error: type[InvalidJSONError] = InvalidJSONError,
    ) -> int:
        """Set the error: the character at the position is not the expected one."""
        reason = f"expected {expected}, found {text[position]!r}"
        self.error = error(reason, self._at(text, position))
        return len(text)


def is_plain(text: str) -> bool:
    """Return whether a text has only printable characters, and neither a quote nor a backslash.

    A JSON string may also have characters that are not printable. They are rare.
    """
    return '"' not in text and "\\" not in text and text.isprintable()


def rest_of_string(text: str, position: int) -> tuple[str, int] | None:
    """Return the characters of a string from a position in it on, without escapes.

    Cost: linear in the string. If the string is not closed, or begins the text, linear in the text.

    Returns:
        The characters, and the position after the closing quote. If the text ends before the quote,
        the position is greater than the length of the text. None if the string is invalid, or if
        the text may end inside an escape or between the halves of a surrogate pair.
    """
    if position and text.find('"', position) >= 0:
        try:
            return scan_string(text, position)
        except ValueError:
            pass  # the string is cut or invalid
    try:
        # The C function needs a closing quote, so one is added. A quote in the text comes first.
        characters, end = scan_string(text[position:] + '"', 0)
    except ValueError:
        return None
    end += position
    if end > len(text) and "\ud800" <= characters[-1:] <= "\udbff":
        return None
    return characters, end


def characters_at(text: str, position: int) -> tuple[str, int]:
    """Return the characters of a string that are whole, without escapes, and the position after."""
    run = matchers[RUN](text, position)
    end = run.end() if run else position
    if not text.startswith("\\", end):
        return text[position:end], end
    escaped = matchers[CHARACTERS](text, position)
    if escaped is None:
        return "", position
    return scan_string(f'{escaped[0]}"', 0)[0], escaped.end()


def end_of_escape(text: str, position: int) -> int:
    """Return the position after the beginning of an escape; `position` if there is no escape."""
    escape = matchers[CUT_ESCAPE](text, position)
    return escape.end() if escape else position
