"""The scanner: pieces of a text in, their value out."""

import json
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final

from .decoding import DECODER
from .errors import InvalidJSONError, TooDeepError
from .tokens import (
    AFTER_ITEM,
    CHARACTERS,
    COLON,
    CUT_ESCAPE,
    DIGIT_RUN,
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
_unescape = json.JSONDecoder().raw_decode
# The C function of `json`: a text and the index after a quote -> the string, and the index after
# the closing quote. It has no public name.
scan_string: Final[Callable[[str, int], tuple[str, int]]] = vars(DECODER)["parse_string"]


class Scanner(GrowingValue):
    """The value of a text, built from the pieces of the text.

    The cost is linear in the text, wherever the text is cut. The scanner does not recurse, however
    deeply the text is nested.

    Args:
        partial_strings: whether the value includes an unfinished string.
        max_depth: how many arrays and objects may be nested.
    """

    def __init__(self, partial_strings: bool, max_depth: int) -> None:
        super().__init__()
        self._partial_strings = partial_strings
        self._max_depth = max_depth
        self._pushed: list[str] = []  # pieces that are not scanned yet
        self._past: list[str] = []  # pieces that are scanned
        self._scanned = 0  # the number of scanned characters
        self._death: tuple[str, int] | None = None  # reason and position of the error
        self._death_kind = InvalidJSONError
        self._held = ""  # a cut escape: at most 11 characters, scanned with the next piece

    # The steps. A step takes a text and a position in it. It consumes one token, or the part of it
    # that has arrived. It sets the next state and returns the position after the token.

    def _scan(self) -> None:
        """Scan the pushed pieces. Afterwards the containers have the value of the text so far."""
        text = "".join(self._pushed)
        self._pushed.clear()
        if self._death:
            return
        self._past.append(text)
        self._scanned += len(text)
        if self._state is IN_STRING and not self._held and is_plain(text):
            self._grow_string(text)
            return
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
        if len(text) - position > _MANY and self._takes_items:
            items = many_items()(text, position, position + _AT_ONCE)
            if items is not None:
                top: Any = self._top
                top.extend(DECODER.decode(f"[{items[0][:-1]}]"))
                self._state = VALUE
                return items.end()
        token = matchers[TOKENS[self._state]](text, position)
        if token is None:
            position = len(text) - len(text[position:].lstrip(" \t\n\r"))
            return self._die(text, position, self._state)
        match kind := token.lastgroup:
            case "string":
                self._put(token["string"])
                self._state = self._after
            case "key":
                self._place = token["key"]
                self._state = VALUE
            case "colon" | "next_item":
                self._state = VALUE
            case "next_member":
                self._state = KEY
            case "int":
                self._put_integer(token["int"], self._at(text, token.start("int")))
                self._state = self._after
            case "float":
                self._put(float(token["float"]))
                self._state = self._after
            case "literal":
                self._put(LITERALS[token["literal"][0]][1])
                self._state = self._after
            case "object" | "array":
                if len(self._outer) == self._max_depth:
                    limit = f"at most {self._max_depth} nested arrays and objects"
                    self._death_kind = TooDeepError
                    return self._die(text, token.start(kind), limit)
                self._open(kind)
            case "close":
                self._close()
            case "in_string":
                # Usually the rest of the string is there, and the C code of `json` can read it.
                try:
                    string, end = scan_string(text, token.end())
                except ValueError:  # the string is cut or invalid: IN_STRING finds out which
                    pass
                else:
                    self._put(string)
                    self._state = self._after
                    return end
                self._token = ""
                if self._partial_strings:
                    self._put("")
                self._state = IN_STRING
            case "in_key":
                self._token = ""
                self._state = IN_KEY
            case "in_number":
                self._token = token["in_number"]
                self._part = FIRST_PART[self._token]
                self._state = IN_NUMBER
            case "in_literal":
                self._token = token["in_literal"]
                self._state = IN_LITERAL
            case _:  # only white space was left
                pass
        return token.end()

    @property
    def _takes_items(self) -> bool:
        """Whether `many_items` may be used for the next token.

        The token must begin an item of an array, and the deepest item that `many_items` matches
        must not exceed `max_depth`.
        """
        is_next = self._state is FIRST_ITEM or (self._state is VALUE and self._after is AFTER_ITEM)
        return is_next and len(self._outer) + LEVELS <= self._max_depth

    def _grow_string(self, text: str) -> None:
        """Add a whole piece to the unfinished string, in which it neither ends nor is escaped.

        Most pieces of an input are such pieces. Adding one here takes 14,000 instructions less than
        by `_step_string`, which searches for the end of the string.
        """
        # CPython adds to a str in place while a local variable holds the only reference to it.
        token, self._token = self._token, ""
        if self._partial_strings:
            container: Any = self._top
            place = self._place
            container[place] = None
            token += text
            container[place] = token
        else:
            token += text
        self._token = token

    def _step_string(self, text: str, position: int) -> int:
        """Consume characters up to the closing quote, in IN_STRING and IN_KEY."""
        shown = self._partial_strings and self._state is IN_STRING
        container: Any = self._top
        # CPython adds to a str in place while a local variable holds the only reference to it.
        token, self._token = self._token, ""
        if shown:
            container[self._place] = None
        characters, position = self._take_characters(text, position)
        token += characters
        if shown:
            container[self._place] = token
        if position == len(text):
            self._token = token
            return position
        if text[position] != '"':
            self._token = token
            return self._cut_characters(text, position)
        if self._state is IN_KEY:
            self._place = token
            self._state = COLON
        else:
            if not shown:
                self._put(token)
            self._state = self._after
        return position + 1

    def _take_characters(self, text: str, position: int) -> tuple[str, int]:
        """Return the characters from `position` on, unescaped, and the position after them."""
        run = matchers[RUN](text, position)
        end = run.end() if run else position
        if not text.startswith("\\", end):
            return text[position:end], end
        run = matchers[CHARACTERS](text, position)
        if run is None:
            return "", position
        return _unescape(f'"{run[0]}"')[0], run.end()

    def _cut_characters(self, text: str, position: int) -> int:
        """Handle a string whose next character cannot be consumed.

        Either the text ends there, perhaps inside an escape, or the character is invalid.
        """
        escape = matchers[CUT_ESCAPE](text, position)
        end = escape.end() if escape else position
        if end < len(text):
            control = text[end] < " "
            expected = "an escaped control character" if control else "a valid escape"
            return self._die(text, end, expected)
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
        token, self._token = self._token, ""  # adds in place, as in `_step_string`
        token += text[start:position]
        self._token = token
        if position == len(text):
            return position
        if self._part not in WHOLE_NUMBER:
            return self._die(text, position, IN_NUMBER)
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
                return self._die(text, position, word)
            self._token += letter
            position += 1
        self._put(value)
        self._state = self._after
        return position

    _STEPS: ClassVar[Mapping[str, Callable[..., int]]] = {
        **dict.fromkeys(TOKENS, _step_token),
        IN_STRING: _step_string,
        IN_KEY: _step_string,
        IN_NUMBER: _step_number,
        IN_LITERAL: _step_literal,
    }

    def _at(self, text: str, position: int) -> int:
        """Return the index in the whole text of a position in the text that is being scanned."""
        return self._scanned - len(text) + position

    def _die(self, text: str, position: int, expected: str) -> int:
        reason = f"expected {expected}, found {text[position]!r}"
        self._death = (reason, self._at(text, position))
        return len(text)


def is_plain(text: str) -> bool:
    """Whether a text has only printable characters, and neither a quote nor a backslash.

    A JSON string may have some characters that are not printable, but they are rare.
    """
    return '"' not in text and "\\" not in text and text.isprintable()
