"""Models of pydantic and applications of FastAPI can have members that are messages."""

import json
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from sansio_stream import Message, message_from_dict

WHOLE: dict[str, Any] = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "m",
    "content": [{"type": "text", "text": "Hello."}, {"type": "hologram", "x": 1}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 1, "output_tokens": 2, "photons": 3},
    "weather": "fine",
}
MESSAGE = message_from_dict(WHOLE)


class Answer(BaseModel):
    """A model with members that are messages."""

    message: Message
    earlier: list[Message] = []


def test_a_message_a_dict_and_json_are_validated() -> None:
    for given in (MESSAGE, WHOLE):
        answer = Answer.model_validate({"message": given, "earlier": [given]})
        assert answer.message == MESSAGE
        assert answer.earlier == [MESSAGE]
    assert Answer(message=MESSAGE).message is MESSAGE
    assert Answer.model_validate_json(json.dumps({"message": WHOLE})).message == MESSAGE


def test_a_value_that_is_not_a_message_is_refused() -> None:
    wrong: Any
    for wrong in ("Hello.", 5, None, [], {}, {"content": "Hello."}, {**WHOLE, "type": "error"}):
        with pytest.raises(ValidationError):
            Answer.model_validate({"message": wrong})
        with pytest.raises(ValidationError):
            Answer.model_validate_json(json.dumps({"message": wrong}))


def test_a_message_is_serialised_by_its_dict() -> None:
    answer = Answer(message=MESSAGE)
    assert answer.model_dump() == {"message": WHOLE, "earlier": []}
    assert json.loads(answer.model_dump_json()) == {"message": WHOLE, "earlier": []}


@pytest.mark.parametrize("mode", ["validation", "serialization"])
def test_a_message_has_a_json_schema(mode: Any) -> None:
    schema = Answer.model_json_schema(mode=mode)["properties"]["message"]
    assert schema["type"] == "object"
    assert schema["properties"]["type"] == {"const": "message", "type": "string"}
    assert schema["properties"]["id"] == {"type": ["string", "null"]}
    assert schema["properties"]["content"] == {"type": "array", "items": {"type": "object"}}
    assert schema["properties"]["usage"] == {"type": "object"}
    assert schema["properties"]["input_transformations"] == {"type": ["array", "null"]}
    assert "complete" not in schema["properties"]


def test_an_application_of_fastapi_returns_messages() -> None:
    fastapi = pytest.importorskip("fastapi", reason="the application is one of FastAPI")
    client_of = pytest.importorskip("fastapi.testclient").TestClient
    app = fastapi.FastAPI()

    @app.get("/answer", response_model=Answer)  # type: ignore[untyped-decorator]
    def answer() -> Any:
        return {"message": MESSAGE}

    @app.post("/message", response_model=Message)  # type: ignore[untyped-decorator]
    def echo(message: Message = fastapi.Body()) -> Message:  # noqa: B008  (as FastAPI wants it)
        return message

    client = client_of(app)
    assert client.get("/answer").json() == {"message": WHOLE, "earlier": []}
    assert client.post("/message", json=WHOLE).json() == WHOLE
    assert client.post("/message", json={}).status_code == 422
    schemas = client.get("/openapi.json").json()["components"]["schemas"]
    assert schemas["Answer"]["properties"]["message"]["title"] == "Message"
