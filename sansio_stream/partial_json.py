"""JSON text: pieces of one text in, its value so far and its final value out.

Knows nothing about messages and imports nothing of ours. Each character is looked at once,
whatever the cuts and however often the value is read; no step recurses on the text's nesting.
"""

import functools
import json
import math
import re
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final, NoReturn, TypeAlias

__all__ = ["InvalidJSONError", "PartialJSON"]


# The states: what is expected next, in the words of an error message.
VALUE: Final = "a value"
FIRST_ITEM: Final = "a value or ']'"
AFTER_ITEM: Final = "',' or ']'"
FIRST_KEY: Final = "a key in double quotes or '}'"
KEY: Final = "a key in double quotes"
COLON: Final = "':'"
AFTER_MEMBER: Final = "',' or '}'"
END: Final = "nothing more"
IN_STRING: Final = "the rest of a string"
IN_KEY: Final = "the rest of a key"
IN_NUMBER: Final = "the rest of a number"
IN_LITERAL: Final = "the rest of true, false or null"

# Between tokens: what a state takes, white space before it aside. A group is named after what it
# is: a whole token, or the `in_…` beginning of one that is cut (or a string with escapes).
_SPACE = r"[ \t\n\r]*+"
_PLAIN = r'[^"\\\x00-\x1f]'
_INT = r"-?(?:0|[1-9][0-9]*+)"
_EXP = r"[eE][+-]?[0-9]++"
_ENDS = r"(?=[,\]} \t\n\r])"
_STRING = rf'"(?P<string>{_PLAIN}*+)"'
_MEMBER = rf'"(?P<key>{_PLAIN}*+)"{_SPACE}:'
_NUMBER = rf"(?P<int>{_INT}){_ENDS}|(?P<float>{_INT}(?:\.[0-9]++(?:{_EXP})?+|{_EXP})){_ENDS}"
_ANY_VALUE = (
    rf"{_STRING}|{_NUMBER}|(?P<literal>true|false|null)|(?P<object>\{{)|(?P<array>\[)"
    r'|(?P<in_string>")|(?P<in_number>[-0-9])|(?P<in_literal>[tfn])'
)
# fmt: off
_TOKENS: Final[Mapping[str, str]] = {
    state: rf"{_SPACE}(?:{tokens}|\Z)"
    for state, tokens in (
        (VALUE,        _ANY_VALUE),
        (FIRST_ITEM,   rf"{_ANY_VALUE}|(?P<close>\])"),
        (AFTER_ITEM,   r"(?P<next_item>,)|(?P<close>\])"),
        (FIRST_KEY,    rf'{_MEMBER}|(?P<in_key>")|(?P<close>\}})'),
        (KEY,          rf'{_MEMBER}|(?P<in_key>")'),
        (COLON,        r"(?P<colon>:)"),
        (AFTER_MEMBER, rf",{_SPACE}{_MEMBER}|(?P<next_member>,)|(?P<close>\}})"),
        (END,          r"\Z"),
    )
}
# fmt: on

_LEVELS: Final = 2
# How long a text is for which it is worth asking, and how much of it is read at once.
_MANY: Final = 256
_AT_ONCE: Final = 65_536

# In a string. The escape of a high surrogate is taken where what follows decides whether it is
# one half of a pair, and is held back until then: so no cut splits a pair.
_HEX = "[0-9a-fA-F]"
_HIGH = rf"[dD][89abAB]{_HEX}{{2}}"
_LOW = rf"[dD][c-fC-F]{_HEX}{{2}}"
_NO_LOW = rf'"|{_PLAIN}|\\["\\/bfnrt]|\\u(?:[0-9abcefABCEF]|[dD][0-9abAB])'
_RUN = rf"{_PLAIN}++"
_CHARACTERS = (
    rf'(?:{_PLAIN}++|\\["\\/bfnrt]|\\u(?!{_HIGH}){_HEX}{{4}}'
    rf"|\\u{_HIGH}(?:\\u{_LOW}|(?={_NO_LOW})))++"
)
_CUT_ESCAPE = rf"\\(?:u(?:{_HIGH}(?:\\(?:u(?:[dD](?:[c-fC-F]{_HEX}?)?)?)?)?|{_HEX}{{0,3}}))?"
_unescape = json.JSONDecoder().raw_decode

# In a number: its parts, and the characters that lead from one to the next.
MINUS, ZERO, INTEGER, POINT, FRACTION, E, SIGN, EXPONENT = range(8)
_DIGITS = "0123456789"
# fmt: off
_PARTS: Final[Mapping[int, Mapping[str, int]]] = {
    MINUS:    {"0": ZERO,  **dict.fromkeys("123456789", INTEGER)},
    ZERO:     {".": POINT, "e": E, "E": E},
    INTEGER:  {".": POINT, "e": E, "E": E, **dict.fromkeys(_DIGITS, INTEGER)},
    POINT:    {**dict.fromkeys(_DIGITS, FRACTION)},
    FRACTION: {"e": E, "E": E, **dict.fromkeys(_DIGITS, FRACTION)},
    E:        {"+": SIGN, "-": SIGN, **dict.fromkeys(_DIGITS, EXPONENT)},
    SIGN:     {**dict.fromkeys(_DIGITS, EXPONENT)},
    EXPONENT: {**dict.fromkeys(_DIGITS, EXPONENT)},
}
# fmt: on
_FIRST_PART: Final[Mapping[str, int]] = {"-": MINUS, **_PARTS[MINUS]}
_WHOLE_NUMBER: Final = frozenset((ZERO, INTEGER, FRACTION, EXPONENT))
_WHOLE_INTEGER: Final = frozenset((ZERO, INTEGER))
_DIGIT_RUN = r"[0-9]++"


class _Matchers(dict[str, Callable[[str, int], re.Match[str] | None]]):
    """The `match` of each pattern, compiled when it is first needed: together they take 2 ms, and
    who reads no unfinished text needs none.
    """

    def __missing__(self, pattern: str) -> Callable[[str, int], re.Match[str] | None]:
        match = self[pattern] = re.compile(pattern).match
        return match


_match = _Matchers()

# In a literal, by its first letter.
_LITERALS: Final[Mapping[str, tuple[str, bool | None]]] = {
    "t": ("true", True),
    "f": ("false", False),
    "n": ("null", None),
}

# An unfinished number that is longer than CPython's usual limit for an integer is not shown: to
# convert it again at each read would cost the square of its length.
_LONGEST_SHOWN: Final = 4300
_REFUSED: Final = "an integer has more digits than Python converts"
_ABSENT: Final = object()

_Container: TypeAlias = list[Any] | dict[str, Any]


class InvalidJSONError(ValueError):
    """A text is not one whole JSON text (RFC 8259): the `reason`, and its `position`.

    The position counts code points from the start of the text.
    """

    reason: str
    position: int

    def __init__(self, reason: str, position: int) -> None:
        super().__init__(reason, position)
        self.reason = reason
        self.position = position

    def __str__(self) -> str:
        return f"{self.reason} (at character {self.position})"


class TooDeepError(InvalidJSONError):
    """A text that may be good JSON, but nests deeper than it was allowed to."""


class PartialJSON:
    """The value of a JSON text that is still growing.

    `push` only keeps the text; it is worked off when something is asked, each character once. The
    same text gives the same answers, however it was cut and whenever one asked. A pickle or a
    copy has the same text and goes on alone.
    """

    def __init__(self, partial_strings: bool = True, *, max_depth: int = 512) -> None:
        self._partial_strings = partial_strings
        self._max_depth = max_depth
        self._pushed: list[str] = []  # pieces not scanned yet
        self._past: list[str] = []  # pieces scanned
        self._scanned = 0  # characters scanned
        self._death: tuple[str, int] | None = None  # reason and position
        self._death_kind = InvalidJSONError
        self._refused_at: int | None = None  # the first integer that Python would not convert

        self._state: str = VALUE
        self._after: str = END  # the state after a value in the innermost container
        self._root: list[Any] = []  # holds the whole value, as if the text were one item of it
        self._top: _Container = self._root  # the innermost open container
        self._outer: list[_Container] = []  # those around it
        self._place: Any = -1  # where its newest value stands: the key, -1 in an array

        self._token = ""  # what came of an unfinished string (unescaped), number or literal
        self._held = ""  # a cut escape, at most 11 characters: scanned again with the next piece
        self._part = MINUS  # of an unfinished number
        self._shown = False  # does an unfinished number stand in its container?
        self._older: Any = _ABSENT  # the value whose place it took there

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
        if expected is IN_NUMBER and self._part in _WHOLE_NUMBER:
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
            value = _decode(text, self._max_depth)
        except (ValueError, RecursionError):
            return  # the scan finds the place and the reason, and needs no recursion
        if isinstance(value, (list, dict)):
            self._root.append(value)
            self._state = END
            self._scanned = len(text)
            self._past, self._pushed = self._pushed, []

    # The scan. A step takes a text and a position in it, works off one token or as much of it as
    # there is, sets the next state, and returns the position after it.

    def _scan(self) -> None:
        """Work off what was pushed; afterwards the containers hold all there is to show."""
        text = "".join(self._pushed)
        self._pushed.clear()
        if self._death:
            return
        self._past.append(text)
        self._scanned += len(text)
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
        """Between tokens: `_TOKENS` says what a state takes, this says where it leads."""
        if len(text) - position > _MANY and self._takes_items:
            items = _many_items()(text, position, position + _AT_ONCE)
            if items is not None:
                top: Any = self._top
                top.extend(_decoder.decode(f"[{items[0][:-1]}]"))
                self._state = VALUE
                return items.end()
        token = _match[_TOKENS[self._state]](text, position)
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
                self._put(_LITERALS[token["literal"][0]][1])
                self._state = self._after
            case "object" | "array":
                if len(self._outer) == self._max_depth:
                    limit = f"at most {self._max_depth} arrays and objects inside one another"
                    self._death_kind = TooDeepError
                    return self._die(text, token.start(kind), limit)
                self._open(kind)
            case "close":
                self._close()
            case "in_string":
                self._token = ""
                if self._partial_strings:
                    self._put("")
                self._state = IN_STRING
            case "in_key":
                self._token = ""
                self._state = IN_KEY
            case "in_number":
                self._token = token["in_number"]
                self._part = _FIRST_PART[self._token]
                self._state = IN_NUMBER
            case "in_literal":
                self._token = token["in_literal"]
                self._state = IN_LITERAL
            case _:  # nothing but white space was left
                pass
        return token.end()

    @property
    def _takes_items(self) -> bool:
        """Whether an item of an array may come, and be as deep as those that are taken at once."""
        is_next = self._state is FIRST_ITEM or (self._state is VALUE and self._after is AFTER_ITEM)
        return is_next and len(self._outer) + _LEVELS <= self._max_depth

    def _step_string(self, text: str, position: int) -> int:
        """IN_STRING, IN_KEY: characters up to the closing quote."""
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
        """The characters from here on, unescaped, and the position after them."""
        run = _match[_RUN](text, position)
        end = run.end() if run else position
        if not text.startswith("\\", end):
            return text[position:end], end
        run = _match[_CHARACTERS](text, position)
        if run is None:
            return "", position
        return _unescape(f'"{run[0]}"')[0], run.end()

    def _cut_characters(self, text: str, position: int) -> int:
        """The text ends in the string, perhaps in an escape; or it is dead."""
        escape = _match[_CUT_ESCAPE](text, position)
        end = escape.end() if escape else position
        if end < len(text):
            control = text[end] < " "
            expected = "a control character to be escaped" if control else "the rest of an escape"
            return self._die(text, end, expected)
        self._held = text[position:]
        return end

    def _step_number(self, text: str, position: int) -> int:
        """IN_NUMBER: to the first character that can't belong to it, which ends or kills it."""
        start = position
        while position < len(text):
            part = _PARTS[self._part].get(text[position])
            if part is None:
                break
            self._part = part
            digits = None if part is ZERO else _match[_DIGIT_RUN](text, position)
            position = digits.end() if digits else position + 1
        token, self._token = self._token, ""  # adds in place, as in `_step_string`
        token += text[start:position]
        self._token = token
        if position == len(text):
            return position
        if self._part not in _WHOLE_NUMBER:
            return self._die(text, position, IN_NUMBER)
        if self._part in _WHOLE_INTEGER:
            self._put_integer(token, self._at(text, position) - len(token))
        else:
            self._put(float(token))
        self._state = self._after
        return position

    def _step_literal(self, text: str, position: int) -> int:
        """IN_LITERAL: letter by letter."""
        word, value = _LITERALS[self._token[0]]
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
        **dict.fromkeys(_TOKENS, _step_token),
        IN_STRING: _step_string,
        IN_KEY: _step_string,
        IN_NUMBER: _step_number,
        IN_LITERAL: _step_literal,
    }

    # What the steps share.

    def _open(self, kind: str) -> None:
        container: _Container = {} if kind == "object" else []
        self._put(container)
        self._outer.append(self._top)
        self._top = container
        if kind == "object":
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

    def _put_integer(self, digits: str, at: int) -> None:
        try:
            self._put(int(digits))
        except ValueError:
            self._put(None)
            if self._refused_at is None:
                self._refused_at = at

    def _number(self) -> int | float:
        """The unfinished number as if it ended here; ValueError where Python refuses it."""
        return int(self._token) if self._part in _WHOLE_INTEGER else float(self._token)

    def _finish_number(self) -> int | float:
        try:
            return self._number()
        except ValueError:
            raise InvalidJSONError(_REFUSED, self._scanned - len(self._token)) from None

    def _show_number(self) -> None:
        """Put the unfinished number into its container, if it is a number as it stands."""
        if self._part not in _WHOLE_NUMBER or len(self._token) > _LONGEST_SHOWN:
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
        """Take it out again, before more of it is scanned."""
        self._shown = False
        container: Any = self._top
        if self._older is _ABSENT:
            del container[self._place]
        else:
            container[self._place] = self._older

    def _at(self, text: str, position: int) -> int:
        """Index in the whole text of a position in the text under the scan."""
        return self._scanned - len(text) + position

    def _die(self, text: str, position: int, expected: str) -> int:
        reason = f"expected {expected}, found {text[position]!r}"
        self._death = (reason, self._at(text, position))
        return len(text)


@functools.cache
def _many_items() -> Callable[[str, int, int], re.Match[str] | None]:
    """What matches many items of an array, whole and not deep, each with its comma, for C to read.

    Of more than 640 digits nobody knows whether Python converts them (`set_int_max_str_digits`).
    Compiled where a long text asks for it, and not by who imports this.
    """
    comma = rf"{_SPACE},"
    name = rf'{_SPACE}"{_PLAIN}*+"{_SPACE}:'
    item = (
        rf'{_SPACE}(?:"{_PLAIN}*+"|-?(?:0|[1-9][0-9]{{0,600}}+)(?:\.[0-9]++)?+(?:{_EXP})?+{_ENDS}'
        r"|true|false|null)"
    )
    for _ in range(_LEVELS):
        array, members = (
            rf"\[(?:{item}(?:{comma}(?!{_SPACE}\])|(?={_SPACE}\])))*+{_SPACE}\]",
            rf"\{{(?:{name}{item}(?:{comma}(?!{_SPACE}\}})|(?={_SPACE}\}})))*+{_SPACE}\}}",
        )
        item = rf"(?:{item}|{_SPACE}(?:{array}|{members}))"
    return re.compile(rf"(?:{item}{comma})++").match


def _restore(cls: type[PartialJSON], strings: bool, max_depth: int, text: str) -> PartialJSON:
    restored = cls(strings, max_depth=max_depth)
    restored.push(text)
    return restored


def loads(text: str, max_depth: int = 512, *, finite: bool = False) -> Any:
    """The value of a whole JSON text, at the speed of `json.loads`, by RFC 8259 only.

    Accepts, gives and raises what `PartialJSON.finish` does: no NaN or Infinity, no nesting beyond
    `max_depth`, no exception but `InvalidJSONError`. With `finite`, a number that no float holds
    (`1E400`) is invalid, too: it would read as infinity, which no JSON can hold.
    """
    try:
        return _decode(text, max_depth, _finite_decoder if finite else _decoder)
    except (ValueError, RecursionError):
        parser = PartialJSON(max_depth=max_depth)
        parser.push(text)
        value = parser.finish()
        if finite:
            refuse_infinity(text)
        return value


def object_in(text: str, max_depth: int) -> dict[str, Any] | None:
    """The object that `loads` makes of a text; None where it makes something else, or raises.

    Cost: that of `json.loads`, also for what is no JSON: the place where it goes wrong, which takes
    ten times as long to find, is not asked for. Raises TooDeepError where `loads` does.
    """
    if not _nests_deeper(text, max_depth):
        begun = _begins_object(text)
        if begun is None:
            return None
        try:
            value, end = _scan_once(text, begun.end() - 1)
        except (ValueError, StopIteration):
            return None
        except RecursionError:
            pass  # near the caller's limit: the other parser needs no recursion
        else:
            return value if end == len(text) or _ends_here(text, end) else None
    try:
        found: dict[str, Any] = loads(text, max_depth)
    except TooDeepError:
        raise
    except InvalidJSONError:
        return None
    return found


def refuse_infinity(text: str) -> None:
    """Raise InvalidJSONError at the first number of a JSON text that no float holds."""
    for token in strings_or_numbers(text):
        number = token[1]
        if number and not number.lstrip("-").isdigit() and math.isinf(float(number)):
            raise InvalidJSONError("a number is too large for a float", token.start())


strings_or_numbers: Final = re.compile(
    r'"(?:[^"\\]|\\.)*+"|(-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)'
).finditer


def _refuse(name: str) -> NoReturn:
    raise ValueError(name)


def _finite(number: str) -> float:
    value = float(number)
    if math.isinf(value):
        raise ValueError(number)
    return value


_decoder: Final = json.JSONDecoder(parse_constant=_refuse)
_finite_decoder: Final = json.JSONDecoder(parse_constant=_refuse, parse_float=_finite)
# As `json` has it, in C: a text and where a value begins in it -> the value, and its end.
_scan_once: Final = vars(_decoder)["scan_once"]
_begins_object: Final = re.compile(r"[ \t\n\r]*+\{").match
_ends_here: Final = re.compile(r"[ \t\n\r]*+\Z").match
# Brackets that open or close, one behind another, and what stands before them: no match fails.
_brackets: Final = re.compile(
    r'(?s:[^"\[\]{}]++|"(?:[^"\\]++|\\.?)*+(?:"|\Z))*+(?:([\[{]++)|([\]}]++)|\Z)'
).finditer


def _decode(text: str, max_depth: int, decoder: json.JSONDecoder = _decoder) -> Any:
    """`loads` in C: ValueError for whatever is wrong, RecursionError near the caller's limit."""
    if _nests_deeper(text, max_depth):
        raise ValueError(max_depth)
    return decoder.decode(text)


def _nests_deeper(text: str, max_depth: int) -> bool:
    """Whether the brackets of a text do, whatever else is wrong with it."""
    if text.count("[") + text.count("{") > max_depth:
        depth = 0
        for found in _brackets(text):
            opened, closed = found.groups("")
            depth += len(opened) - len(closed)
            if depth > max_depth:
                return True
    return False
