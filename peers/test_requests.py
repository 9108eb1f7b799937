"""Objects of the official SDK and pydantic models are sent as JSON."""

import json
from typing import Any

from anthropic.types import Message, MessageParam, TextBlock, TextBlockParam, ToolParam
from pydantic import BaseModel, Field

from sansio_stream import build_request
from sansio_stream_adapters import sockets

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


def legal_calls(
    client: sockets.Client,
    *,
    answer: Message,
    messages: list[MessageParam],
    tool: ToolParam,
    system: list[TextBlockParam],
    model: BaseModel,
) -> None:
    """Only the type checkers read this function. They find no error in it."""
    stream = client.messages.stream
    stream(model="m", max_tokens=1, messages=messages, tools=[tool, model], system=system)
    stream(model="m", max_tokens=1, messages=[*messages, answer, model])
    stream(model="m", max_tokens=1, messages=[{"role": "assistant", "content": answer.content}])
