"""Test that the command shows any file safely, in bounded time, and without forged lines."""

import io
import json
import re
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
from click.testing import CliRunner
from rich.cells import cell_len
from rich.console import Console

from commands import block_only, capture, command
from sansio_stream.capture import CaptureHeader, CaptureWriter
from sansio_stream_tools import _main
from sansio_stream_tools._answer_view import Writer
from sansio_stream_tools._text import ending, fitting, one_line, printable, to_json, unbroken
from test_cli import VIEWS, on_terminal, replay
from test_growth import AT_MOST, calls, characters
from wire import (
    HELLO,
    MESSAGE_STOP,
    block_start,
    block_stop,
    body,
    frame,
    message_delta,
    message_start,
    text,
    tool_start,
)

WIDTH: Final = 100

# Characters of unusual width: two cells, no cell, or a width that depends on their neighbours.
UNUSUAL_WIDTHS: Final = {
    "wide": "\N{CJK UNIFIED IDEOGRAPH-754C}",
    "combining": "\N{COMBINING ACUTE ACCENT}",
    "accented": "e\N{COMBINING ACUTE ACCENT}",
    "joined": "\N{WOMAN}\N{ZERO WIDTH JOINER}\N{PERSONAL COMPUTER}",
    "coloured": "\N{WARNING SIGN}\N{VARIATION SELECTOR-16}",
    "invisible": "\N{ZERO WIDTH SPACE}",
    "plain": "x",
}


# Shortened lines.


@pytest.mark.parametrize("unusual", UNUSUAL_WIDTHS.values(), ids=UNUSUAL_WIDTHS)
@pytest.mark.parametrize("count", [1, 59, 200, 20_000])
def test_a_trace_quotes_the_part_of_a_line_around_a_violation(unusual: str, count: int) -> None:
    line = unusual * count
    for wrong in (line.encode() + b"\xff" + line.encode(), b"event: ping\ndata: {" + line.encode()):
        data = b"data: " + wrong + b"\n\n" + body(*HELLO)
        output = command("trace", "-", data=data).stdout
        assert max(map(cell_len, output.splitlines())) <= WIDTH
        assert any(each.strip() == "^" for each in output.splitlines())


def test_the_caret_of_a_trace_is_in_the_right_column_after_wide_characters() -> None:
    wide = UNUSUAL_WIDTHS["wide"]
    for count in (1, 20, 500):
        data = b"data: " + (wide * count).encode() + b"\xff" + b"x" * 500 + b"\n\n" + body(*HELLO)
        lines = command("trace", "-", data=data).stdout.splitlines()
        caret = next(line for line in lines if line.strip() == "^")
        quoted = lines[lines.index(caret) - 1]
        before = quoted.partition("\ufffd")[0]
        assert cell_len(before) == caret.index("^")


@pytest.mark.parametrize("unusual", UNUSUAL_WIDTHS.values(), ids=UNUSUAL_WIDTHS)
@pytest.mark.parametrize("cut", [fitting, ending, one_line, unbroken])
def test_shortened_text_fits_its_width_and_has_an_ellipsis(
    cut: Callable[[str, int], str], unusual: str
) -> None:
    for width in (1, 2, 7, 100):
        for count in (0, 1, 3, width, 10 * width, 10_000):
            original = unusual * count
            output = cut(original, width)
            assert cell_len(output) <= width
            assert len(output) <= 8 * width + 1
            assert "…" in output or output == original or output == printable(original)


# Characters that are invisible or change the direction of text.

# These format characters are visible: signs of numbers, of verses and of abbreviation.
VISIBLE: Final = frozenset("\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2") | {
    "\U000110bd",
    "\U000110cd",
}
HIDING: Final = [
    char
    for char in map(chr, range(0x110000))
    if unicodedata.category(char) in {"Cf", "Zl", "Zp"} and char not in VISIBLE
]


def test_every_format_character_is_replaced_and_is_escaped_in_json() -> None:
    assert len(HIDING) > 140
    for char in HIDING:
        assert printable(f"a{char}b") == "a\ufffdb"
        escaped = to_json({char: char})
        assert escaped.isascii()
        assert json.loads(escaped) == {char: char}


def test_ordinary_text_is_shown_unchanged() -> None:
    for ordinary in (
        "é e\u0301",
        "界",
        "\N{WARNING SIGN}\N{VARIATION SELECTOR-16}",
        "٣ שלום",
        "\u202f\xa0x",
    ):
        assert printable(ordinary) == ordinary
        assert json.loads(to_json(ordinary)) == ordinary
        assert to_json(ordinary) == f'"{ordinary}"'


# "\u202e" reverses the direction of the text after it. The tag character is invisible.
FORGED: Final = "\u202e\u2066\u200b\ufeff\U000e0041\u2028FORGED\nFORGED\r\nFORGED\x85\u2029"

FORGED_STREAM: Final = b"".join(
    # Line ends in the name of the event would begin other lines of the frame.
    frame(payload, "event" if payload["type"] == FORGED else None)
    for payload in (
        message_start(FORGED, model=FORGED),
        block_start(0),
        text(0, "\u202e\u200b"),
        block_stop(0),
        tool_start(1, name=FORGED),
        {"type": FORGED},
        block_start(2, {"type": FORGED, "content": FORGED}),
        block_stop(2),
        block_start(3, {"type": "fallback", "from": {"model": FORGED}, "to": {"model": FORGED}}),
        {
            **message_delta(FORGED),
            "delta": {"stop_reason": FORGED, "stop_sequence": FORGED},
            "usage": {FORGED: 1, "output_tokens": 9, "nested": {FORGED: 2}},
        },
    )
)
ERROR: Final = {"type": "error", "error": {"type": FORGED, "message": FORGED}}


def forged_capture(data: bytes) -> bytes:
    header = CaptureHeader(status=529, headers={"request-id": FORGED}, request={"model": FORGED})
    writer = CaptureWriter(header)
    return writer.begin() + writer.chunk(data, 0) + writer.end(1, FORGED)


@pytest.mark.parametrize("view", VIEWS, ids=" ".join)
@pytest.mark.parametrize(
    "data", [FORGED_STREAM, FORGED_STREAM + body(ERROR), b"event: " + FORGED_STREAM]
)
def test_no_name_in_a_stream_is_hidden_or_starts_a_new_line(data: bytes, view: list[str]) -> None:
    for original in (data, forged_capture(data)):
        result = replay("-", *view, data=original)
        for printed in (result.stdout, result.stderr):
            assert not set(HIDING) & set(printed)
            for line in re.split("[\n\v\f\r\x85\u2028\u2029]", printed):
                assert not re.match(" {,6}(│ *)?FORGED", line)
        assert all(line.startswith("sansio-stream: ") for line in result.stderr.splitlines())


def test_no_name_of_a_file_starts_a_new_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("uvicorn", reason="the command needs uvicorn")
    from sansio_stream_tools import _uvicorn

    class Server:
        """A server that serves no requests."""

        def run(self, *, sockets: Any) -> None:
            assert sockets

    path = tmp_path / "a\nFORGED\u202e.sse"
    assert replay(str(path)).stderr.count("\n") == 1
    path.write_bytes(FORGED_STREAM)
    monkeypatch.setattr(_uvicorn, "server_of", lambda _: Server())
    output = CliRunner().invoke(_main.command, ["serve", "--port", "0", str(path)]).stdout
    assert len(output.splitlines()) == 2
    assert "\u202e" not in output


# Extreme numbers and sizes.


def test_numbers_of_400_digits_are_shown() -> None:
    huge = 10**400
    data = body(
        message_start(usage={"input_tokens": huge, "output_tokens": huge, "other": huge}),
        *HELLO[1:6],
        {**message_delta(), "usage": {"output_tokens": huge}},
        MESSAGE_STOP,
    )
    for view in VIEWS:
        for original in (data, capture((0.5, data[:-900]), (1, data[-900:]))):
            result = replay("-", *view, data=original)
            assert result.exit_code == 0
            assert str(huge)[:50] in result.stdout or not {"--events", "--message"} & {*view}


def test_a_block_with_an_index_of_400_digits_does_not_crash_a_view() -> None:
    huge = 10**400
    data = body(message_start(), block_start(huge), text(huge, "Hi"), block_stop(huge))
    for view in VIEWS:
        assert replay("-", *view, data=data).exit_code == 1


def test_the_table_shows_some_of_20000_counters_and_the_number_of_the_others() -> None:
    usage = {f"counter_{number}": number for number in range(20_000)}
    data = body(message_start(usage=usage), *HELLO[1:])
    output = replay("-", data=data).stdout
    assert len(output.splitlines()) < 100
    assert re.search(r"counter_1\b", output)
    assert not re.search(r"counter_0\b", output)  # a counter of 0 tells nothing
    assert re.search(r"\b19,9\d\d more", output)


def test_the_table_shows_some_of_300_kinds_of_blocks_and_the_number_of_the_others() -> None:
    kinds = [block_start(number, {"type": f"kind_{number}"}) for number in range(300)]
    cut = [tool_start(number) for number in range(300, 600)]
    output = replay("-", data=body(message_start(), *kinds, *cut)).stdout
    table = output[output.index("verdict") :]
    assert len(table.splitlines()) < 200
    assert "1 kind_0, " in table
    assert len(re.findall(r"\b2\d\d more", table)) >= 2


def test_a_name_of_a_megabyte_is_shortened_everywhere() -> None:
    name = "n" * 1_000_000
    data = body(
        message_start(name, model=name),
        tool_start(0, name=name),
        block_start(1, {"type": name}),
        {**message_delta(), "usage": {name: 1, "output_tokens": 9}},
    )
    for view in (["replay"], ["replay", "-v"], ["trace"], ["report"]):
        assert len(command(*view, "-", data=data).stdout) < 50_000


@pytest.mark.parametrize(
    "word",
    ["x", " ", "\t", "\n", *UNUSUAL_WIDTHS.values()],
    ids=[*"x", "space", "tab", "line", *UNUSUAL_WIDTHS],
)
def test_the_cost_of_a_long_word_is_linear(word: str) -> None:
    def cost(measure: Callable[[Callable[[], Any]], int], count: int) -> int:
        data = block_only({"type": "text", "text": ""}, *[text(0, word * 8)] * count)
        return measure(lambda: on_terminal(data))

    cost(calls, 60)  # the first run also fills the cache of widths
    assert cost(calls, 120) <= AT_MOST * cost(calls, 60)
    empty = cost(characters, 0)
    assert cost(characters, 60) - empty <= AT_MOST * (cost(characters, 30) - empty)


def test_the_buffer_of_spaces_is_no_longer_than_a_line() -> None:
    writer = Writer(Console(file=io.StringIO(), force_terminal=True, _environ={}))
    for _ in range(100):
        writer.write(" \t" * 100)
    assert len(writer._space) <= 100  # no public name shows the buffer


@pytest.mark.parametrize("name", ["replay", "trace", "report"])
@pytest.mark.parametrize(
    "stream",
    [
        pytest.param(lambda count: b"junk\n" * count + body(*HELLO), id="lines without a frame"),
        pytest.param(
            lambda count: b"data: {\n\n" * count + body(*HELLO), id="frames with invalid JSON"
        ),
        pytest.param(
            lambda count: body(
                message_start(),
                tool_start(0, name="n" * 20 * count),
                tool_start(1, name="n" * 20 * count),
                *[text(number % 2, "x") for number in range(count)],
            ),
            id="alternating blocks with long names",
        ),
        pytest.param(
            lambda count: b"data: " + b"\xff " * count + b"\n\n" + body(*HELLO), id="one long line"
        ),
    ],
)
def test_the_cost_of_a_file_is_linear(stream: Callable[[int], bytes], name: str) -> None:
    def cost(measure: Callable[[Callable[[], Any]], int], count: int) -> int:
        data = stream(count)
        return measure(lambda: command(name, "-", data=data))

    command(name, "-", data=stream(100))
    assert cost(calls, 200) <= AT_MOST * cost(calls, 100)
    # Counting characters takes long. Without the cost of an empty file, small files are enough.
    empty = cost(characters, 0)
    assert cost(characters, 100) - empty <= AT_MOST * (cost(characters, 50) - empty)
