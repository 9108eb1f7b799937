"""The schemas that `Message` returns to pydantic. `peers/test_pydantic.py` uses pydantic itself."""

from collections.abc import Callable
from typing import Any

import pytest

from sansio_stream import Message, message_from_dict
from sansio_stream.schemas import json_schema

WHOLE: dict[str, Any] = {"content": [{"type": "text", "text": "Hi."}], "stop_reason": "end_turn"}


def reader() -> Callable[[Any], Message]:
    """Return the function by which pydantic reads a JSON value."""
    schema = Message.__get_pydantic_core_schema__(Message, None)
    function: Callable[[Any], Message] = schema["json_schema"]["function"]["function"]
    return function


def test_the_schema_of_a_message_reads_and_writes_json() -> None:
    schema = Message.__get_pydantic_core_schema__(Message, None)
    message = message_from_dict(WHOLE)
    assert schema["type"] == "json-or-python"
    is_one, read = schema["python_schema"]["choices"]
    assert is_one == {"type": "is-instance", "cls": Message}
    assert read == schema["json_schema"]
    assert reader()(WHOLE) == message
    assert reader()({**WHOLE, "type": "message", "stop_reason": None}).complete is False
    assert schema["serialization"]["function"](message) == message.to_dict()


@pytest.mark.parametrize("wrong", [None, "Hi.", [], {}, {"content": "Hi."}])
def test_a_value_that_is_not_a_message_is_refused(wrong: Any) -> None:
    with pytest.raises(ValueError, match="must be an object with a list `content`"):
        reader()(wrong)


def test_an_object_of_another_type_is_refused() -> None:
    with pytest.raises(ValueError, match="the type of a message must be 'message'"):
        reader()({**WHOLE, "type": "error"})


def test_the_json_schema_of_a_message_has_its_members() -> None:
    schema = Message.__get_pydantic_json_schema__(None, None)
    assert schema == json_schema(Message)
    assert (schema["type"], schema["title"]) == ("object", "Message")
    assert schema["description"].startswith("A message")
    properties = schema["properties"]
    assert properties["type"] == {"const": "message", "type": "string"}
    assert properties["model"] == {"type": ["string", "null"]}
    assert properties["content"] == {"type": "array", "items": {"type": "object"}}
    assert properties["usage"] == {"type": "object"}
    assert properties["container"] == {"type": ["object", "null"]}
    assert properties.keys().isdisjoint({"complete", "_rest", "rest"})


# The text of a message.


def test_the_text_of_a_message_joins_its_text_blocks() -> None:
    call = {"type": "tool_use", "id": "a", "name": "b", "input": {}}
    texts = [{"type": "text", "text": word} for word in ("Hel", "", "lo.")]
    message = message_from_dict({"content": [texts[0], call, *texts[1:]]})
    assert message.text == "Hello."
    assert message_from_dict({}).text == ""
    assert "text" not in message.to_dict()
