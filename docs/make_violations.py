"""The codes of violations in, the tables of violations.md out. What a code means stands in the
enumeration; here are only the examples.

`python docs/make_violations.py` writes the tables into the page; a test compares.
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
"""The first code of each table; a table goes on to the first one of the next."""

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
        "a proxy that drops blank lines, so that two payloads are in one frame:"
        " [rexxars/eventsource-parser#31](https://github.com/rexxars/eventsource-parser/issues/31)"
    ),
    ViolationCode.UNTERMINATED_FRAME: (
        'a body that ends in `data: {"type":"message_stop"}`, without a line end'
    ),
    ViolationCode.CUT_FRAME: (
        "a connection lost in mid-frame:"
        " [`cut-stream.capture.jsonl`](../examples/cut-stream.capture.jsonl)"
    ),
    ViolationCode.EVENT_NAME_MISMATCH: "`event: message` above a payload of type `error`",
    ViolationCode.MISSING_TYPE: (
        "`event: ping` above `data: {}`: [MadSkittles/Router-Maestro#61](https://github.com/MadSkittles/Router-Maestro/issues/61)"
    ),
    ViolationCode.MALFORMED_EVENT: "a `content_block_delta` without `index`, or with index −1",
    ViolationCode.MALFORMED_DELTA: (
        '`{"type":"input_json_delta","json":"{"}`, with its payload under another name'
    ),
    ViolationCode.MISSING_DELTA: (
        'usage in an event of its own: `{"type":"message_delta","usage":{"output_tokens":166}}`'
    ),
    ViolationCode.MISPLACED_MEMBER: '`{"type":"message_delta","delta":{},"id":"msg_2"}`',
    ViolationCode.EMPTY_STOP_REASON: (
        '`"stop_reason": ""` in a `message_delta`, before the real one comes or the body ends'
    ),
    ViolationCode.UNKNOWN_INPUT_DELTA: '`{"type":"input_delta","partial_json":"{"}`',
    ViolationCode.MALFORMED_MEMBER: '`"output_tokens": "12"` in a `message_delta`',
    ViolationCode.UNDECODABLE_PAYLOAD: (
        '`data: {"type":` without a name, a loss;'
        " `event: weather_report` above `data: sunny`, none; under a known name it is fatal"
    ),
    ViolationCode.DONE_MARKER: (
        "gateways that speak two protocols: [vllm-project/vllm#37510](https://github.com/vllm-project/vllm/issues/37510)"
    ),
    ViolationCode.BEFORE_MESSAGE_START: (
        "a proxy that sends content first: [router-for-me/CLIProxyAPI#530](https://github.com/router-for-me/CLIProxyAPI/issues/530)"
    ),
    ViolationCode.DUPLICATE_MESSAGE_START: (
        "29 of them in one stream: [MoonshotAI/Kimi-K2.5#33](https://github.com/MoonshotAI/Kimi-K2.5/issues/33)"
    ),
    ViolationCode.SECOND_MESSAGE: "two bodies in one log, one after the other",
    ViolationCode.AFTER_MESSAGE_STOP: "a delta behind `message_stop`",
    ViolationCode.AFTER_ERROR: "a proxy that forwards what still comes after `error`",
    ViolationCode.AFTER_STOP_REASON: (
        "a `content_block_start` behind the `message_delta` with the `stop_reason`"
    ),
    ViolationCode.MISSING_STOP_REASON: "`message_stop` without any `message_delta`",
    ViolationCode.UNCLOSED_BLOCK: (
        "`content_block_stop` missing; after `max_tokens` the first party leaves it out, too"
    ),
    ViolationCode.MISSING_MESSAGE_STOP: (
        "compatible servers that never send it: [esengine/DeepSeek-Reasonix#8756](https://github.com/esengine/DeepSeek-Reasonix/issues/8756)"
    ),
    ViolationCode.FALLING_USAGE: (
        '`"input_tokens": 0` in a late `message_delta`, where 15 came before'
    ),
    ViolationCode.CONTRADICTORY_STOP_REASON: (
        "`end_turn` above a tool call: [BerriAI/litellm#34692](https://github.com/BerriAI/litellm/issues/34692)"
    ),
    ViolationCode.INDEX_NOT_NEXT: (
        "indexes that go from 0 to 2: [jundot/omlx#1353](https://github.com/jundot/omlx/issues/1353)"
    ),
    ViolationCode.INDEX_REUSED: (
        "the same index for another tool's id: [langchain-ai/langchain#35281](https://github.com/langchain-ai/langchain/issues/35281)"
    ),
    ViolationCode.OVERLAPPING_BLOCKS: "servers that open all parallel tool calls at once",
    ViolationCode.UNKNOWN_INDEX: (
        "an IndexError elsewhere: [anthropics/anthropic-sdk-python#1192](https://github.com/anthropics/anthropic-sdk-python/issues/1192)"
    ),
    ViolationCode.STOPPED_BLOCK: "a delta behind its block's `content_block_stop`",
    ViolationCode.UNFIT_DELTA: (
        "a `text_delta` on an open tool call: [sgl-project/sglang#24293](https://github.com/sgl-project/sglang/issues/24293)"
    ),
    ViolationCode.SECOND_SIGNATURE: (
        "a signature in the start block, and another in a `signature_delta`"
    ),
    ViolationCode.SECOND_COMPACTION: "a second `compaction_delta` with another `content`",
    ViolationCode.DUPLICATE_TOOL_USE_ID: (
        "two parallel calls with one id: [BerriAI/litellm#23510](https://github.com/BerriAI/litellm/issues/23510)"
    ),
}


def codes_of(table: str) -> list[ViolationCode]:
    """Return the codes of a table."""
    codes, names = list(ViolationCode), list(FIRST)
    begins = [codes.index(FIRST[name]) for name in names] + [len(codes)]
    place = names.index(table)
    return codes[begins[place] : begins[place + 1]]


HEAD: Final = ("code", "meaning", "what we do", "content is lost", "for example")


def row_of(code: ViolationCode) -> tuple[str, ...]:
    """Return the row of a code."""
    return (f"`{code}`", code.meaning, code.action, code.loss or "never", EXAMPLES[code])


def made(page: str) -> str:
    """Return the page with its tables made anew."""
    return tables.made(page, lambda name: table(HEAD, *map(row_of, codes_of(name))))


if __name__ == "__main__":
    PAGE.write_text(made(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
