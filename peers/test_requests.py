"""Objects of the official SDK and pydantic models are sent as JSON."""

import json
from typing import Any

from anthropic.types import Message, TextBlock
from pydantic import BaseModel, Field

from sansio_stream import build_request

TEXT = {"type": "text", "text": "Hello."}
CALL = {"type": "tool_use", "id": "toolu_1", "name": "lookup", "input": {"q": "tea"}}


def sent(params: dict[str, Any]) -> Any:
    return json.loads(build_request(params).body)


def test_a_pydantic_model_is_written_by_its_aliases() -> None:
    class Tool(BaseModel):
        name: str
        schema_: dict[str, Any] = Field(alias="input_schema")

    tool = {"name": "lookup", "input_schema": {"type": "object"}}
    assert sent({"tools": [Tool.model_validate(tool)]})["tools"] == [tool]


def test_a_message_of_the_sdk_can_be_sent_back() -> None:
    theirs = Message.model_validate(
        {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": "m",
            "content": [TEXT, CALL],
            "stop_reason": "tool_use",
            "stop_sequence": None,
            "usage": {"input_tokens": 1, "output_tokens": 2},
        }
    )
    for turn in (theirs, {"role": "assistant", "content": theirs.content}):
        assert sent({"messages": [turn]})["messages"] == [
            {"role": "assistant", "content": [TEXT, CALL]}
        ]
    # A member that the server has not sent is not sent back: the API rejects some nulls.
    made = TextBlock.model_validate(TEXT)
    assert sent({"system": [made]})["system"] == [TEXT]
