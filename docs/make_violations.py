"""Generates the tables of violations.md from `ViolationCode`.

The meanings come from the enumeration. Only the examples are defined here.

`python docs/make_violations.py` writes the tables into the page. A test compares the two.
"""

from pathlib import Path
from typing import Final

import tables
from sansio_stream import ViolationCode
from tables import table

PAGE: Final = Path(__file__).with_name("violations.md")

FIRST: Final = {
    "bytes": ViolationCode.INVALID_UTF8,
    "events": ViolationCode.EVENT_NAME_MISMATCH,
    "order": ViolationCode.BEFORE_MESSAGE_START,
    "index": ViolationCode.INDEX_NOT_NEXT,
    "fold": ViolationCode.UNFIT_DELTA,
}
"""The first code of each table. A table ends before the first code of the next table."""

EXAMPLES: Final = {
    ViolationCode.INVALID_UTF8: "the byte `FF` inside a `data:` line",
    ViolationCode.UNKNOWN_FIELD: (
        "a proxy that appends `upstream error: read ECONNRESET` and closes cleanly: [tetsuo-ai/agenc-core#2492](https://github.com/tetsuo-ai/agenc-core/issues/2492)"
    ),
    ViolationCode.MISSING_EVENT_NAME: (
        "gateways that send `data:` lines only: [coder/coder#23587](https://github.com/coder/coder/issues/23587)"
    ),
    ViolationCode.INVALID_RETRY: "`retry: 2000x`, or `retry:` alone",
    ViolationCode.MISSING_BLANK_LINE: (
        "a proxy that removes blank lines, so that one frame contains two payloads:"
        " [rexxars/eventsource-parser#31](https://github.com/rexxars/eventsource-parser/issues/31)"
    ),
    ViolationCode.UNTERMINATED_FRAME: (
        'a body that ends in `data: {"type":"message_stop"}` without a line end'
    ),
    ViolationCode.CUT_FRAME: (
        "a connection that broke in the middle of a frame:"
        " [`cut-stream.capture.jsonl`](../examples/cut-stream.capture.jsonl)"
    ),
    ViolationCode.EVENT_NAME_MISMATCH: "`event: message` before a payload of type `error`",
    ViolationCode.MISSING_TYPE: (
        "`event: ping` before `data: {}`: [MadSkittles/Router-Maestro#61](https://github.com/MadSkittles/Router-Maestro/issues/61)"
    ),
    ViolationCode.MALFORMED_EVENT: "a `content_block_delta` without `index`, or with index −1",
    ViolationCode.MALFORMED_DELTA: (
        '`{"type":"input_json_delta","json":"{"}`, whose payload has the wrong name'
    ),
    ViolationCode.MISSING_DELTA: (
        'an event with only the usage: `{"type":"message_delta","usage":{"output_tokens":166}}`'
    ),
    ViolationCode.MISPLACED_MEMBER: '`{"type":"message_delta","delta":{},"id":"msg_2"}`',
    ViolationCode.EMPTY_STOP_REASON: (
        '`"stop_reason": ""` in a `message_delta`, before the real stop_reason comes or the body'
        " ends"
    ),
    ViolationCode.UNKNOWN_INPUT_DELTA: '`{"type":"input_delta","partial_json":"{"}`',
    ViolationCode.MALFORMED_MEMBER: '`"output_tokens": "12"` in a `message_delta`',
    ViolationCode.UNDECODABLE_PAYLOAD: (
        '`data: {"type":` without an event name loses content; `data: sunny` after'
        " `event: weather_report` loses none; after a known event name such data is fatal"
    ),
    ViolationCode.DONE_MARKER: (
        "gateways that serve two protocols: [vllm-project/vllm#37510](https://github.com/vllm-project/vllm/issues/37510)"
    ),
    ViolationCode.BEFORE_MESSAGE_START: (
        "a proxy that sends content first: [router-for-me/CLIProxyAPI#530](https://github.com/router-for-me/CLIProxyAPI/issues/530)"
    ),
    ViolationCode.DUPLICATE_MESSAGE_START: (
        "29 of them in one stream: [MoonshotAI/Kimi-K2.5#33](https://github.com/MoonshotAI/Kimi-K2.5/issues/33)"
    ),
    ViolationCode.SECOND_MESSAGE: "a log in which one body follows another",
    ViolationCode.AFTER_MESSAGE_STOP: "a delta after `message_stop`",
    ViolationCode.AFTER_ERROR: "a proxy that forwards the events that come after `error`",
    ViolationCode.AFTER_STOP_REASON: (
        "a `content_block_start` after the `message_delta` with the `stop_reason`"
    ),
    ViolationCode.MISSING_STOP_REASON: "`message_stop` without any `message_delta`",
    ViolationCode.UNCLOSED_BLOCK: (
        "a missing `content_block_stop`; Anthropic's API also omits it after `max_tokens`, which is"
        " no violation"
    ),
    ViolationCode.MISSING_MESSAGE_STOP: (
        "compatible servers that never send it: [esengine/DeepSeek-Reasonix#8756](https://github.com/esengine/DeepSeek-Reasonix/issues/8756)"
    ),
    ViolationCode.FALLING_USAGE: (
        '`"input_tokens": 0` in a late `message_delta` after an earlier value of 15'
    ),
    ViolationCode.CONTRADICTORY_STOP_REASON: (
        "`end_turn` in a message with a tool call: [BerriAI/litellm#34692](https://github.com/BerriAI/litellm/issues/34692)"
    ),
    ViolationCode.INDEX_NOT_NEXT: (
        "indexes that jump from 0 to 2: [jundot/omlx#1353](https://github.com/jundot/omlx/issues/1353)"
    ),
    ViolationCode.INDEX_REUSED: (
        "the same index for a tool call with another id: [langchain-ai/langchain#35281](https://github.com/langchain-ai/langchain/issues/35281)"
    ),
    ViolationCode.OVERLAPPING_BLOCKS: "servers that open all parallel tool calls at once",
    ViolationCode.UNKNOWN_INDEX: (
        "a stream that makes the official SDK raise IndexError: [anthropics/anthropic-sdk-python#1192](https://github.com/anthropics/anthropic-sdk-python/issues/1192)"
    ),
    ViolationCode.STOPPED_BLOCK: "a delta after the `content_block_stop` of its block",
    ViolationCode.UNFIT_DELTA: (
        "a `text_delta` on an open tool call: [sgl-project/sglang#24293](https://github.com/sgl-project/sglang/issues/24293)"
    ),
    ViolationCode.SECOND_SIGNATURE: (
        "one signature in the start block and a different one in a `signature_delta`"
    ),
    ViolationCode.SECOND_COMPACTION: "a second `compaction_delta` with a different `content`",
    ViolationCode.DUPLICATE_TOOL_USE_ID: (
        "two parallel calls with the same id: [BerriAI/litellm#23510](https://github.com/BerriAI/litellm/issues/23510)"
    ),
}


def codes_of(table: str) -> list[ViolationCode]:
    """Return the codes of one table, in the order of `ViolationCode`."""
    codes, names = list(ViolationCode), list(FIRST)
    begins = [codes.index(FIRST[name]) for name in names] + [len(codes)]
    place = names.index(table)
    return codes[begins[place] : begins[place + 1]]


HEAD: Final = ("code", "meaning", "what the library does", "content is lost", "for example")


def row_of(code: ViolationCode) -> tuple[str, ...]:
    """Return the row of one code."""
    return (f"`{code}`", code.meaning, code.action, code.loss or "never", EXAMPLES[code])


def made(page: str) -> str:
    """Return the page with its tables generated anew."""
    return tables.made(page, lambda name: table(HEAD, *map(row_of, codes_of(name))))


if __name__ == "__main__":
    PAGE.write_text(made(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
