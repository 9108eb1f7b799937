"""The types of the public names, as type checkers see them."""

from collections.abc import Iterator, Mapping
from typing import Any, assert_type

from sansio_stream import (
    BODY_NEEDED,
    NOT_GIVEN,
    APIError,
    APIStatusError,
    BodyNeeded,
    Citation,
    ContentBlock,
    ContentBlockDelta,
    ContentBlockStopEvent,
    ErrorDetail,
    ErrorEvent,
    Headers,
    IncompleteMessageError,
    InputError,
    InputState,
    LimitError,
    Limits,
    Message,
    MessageDelta,
    MessageDeltaEvent,
    MessageDeltaUsage,
    MessageStopEvent,
    MessageStreamEvent,
    NotAnEventStreamError,
    NotGiven,
    OverloadedError,
    PingEvent,
    Problem,
    ProblemCode,
    ProtocolError,
    RawContentBlockDeltaEvent,
    RawMessageStreamEvent,
    Request,
    ServerSentEvent,
    SSEDecoder,
    State,
    StreamMachine,
    TextBlock,
    TextDelta,
    ThinkingBlock,
    ToolCall,
    ToolUseBlock,
    UnknownBlock,
    Usage,
    Verdict,
    Violation,
    ViolationCode,
    block_from_dict,
    build_request,
    check_messages,
    check_response,
    encode_event,
    encode_sse,
    equivalent_status,
    event_from_dict,
    is_event_stream,
    merge_turns,
    message_from_dict,
    retry_delay,
    status_error,
    to_param,
    tool_calls,
)


def the_machine(
    chunk: bytes, buffer: bytearray, view: memoryview, payload: Mapping[str, Any]
) -> None:
    machine = StreamMachine(strict=True, limits=Limits(blocks=5), partial_strings=False)
    for data in (chunk, buffer, view):
        assert_type(machine.receive_data(data), Iterator[MessageStreamEvent])
    assert_type(machine.receive_event(payload), Iterator[MessageStreamEvent])
    assert_type(machine.receive_eof(), Iterator[MessageStreamEvent])
    assert_type(machine.connection_lost(), Iterator[MessageStreamEvent])
    assert_type(machine.connection_lost(OSError()), Iterator[MessageStreamEvent])
    assert_type(machine.snapshot, Message | None)
    assert_type(machine.block(0), ContentBlock | None)
    assert_type(machine.state, State)
    assert_type(machine.verdict, Verdict)
    assert_type(machine.violations, tuple[Violation, ...])
    assert_type(machine.violation_count, int)
    assert_type(machine.error, ErrorEvent | ProtocolError | None)
    assert_type(machine.bytes_received, int)
    assert_type(machine.events_taken, int)
    assert_type(machine.event_number, int)
    assert_type(machine.byte_offset, int | None)
    assert_type(machine.final_message(), Message)


def wrong_calls(machine: StreamMachine) -> None:
    # Each line is a type error. The checkers also report an ignore that is not needed.
    machine.receive_data("text")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    machine.receive_data(5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    machine.receive_event([])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    StreamMachine(True)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    TextBlock()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def the_message(message: Message) -> None:
    assert_type(message.id, str | None)
    assert_type(message.content, tuple[ContentBlock, ...])
    assert_type(message.stop_reason, str | None)
    assert_type(message.stop_details, dict[str, Any] | None)
    assert_type(message.usage, Usage)
    assert_type(message.usage.input_tokens, int | None)
    assert_type(message.usage.total_input_tokens, int | None)
    assert_type(message.complete, bool)
    assert_type(message.extra, dict[str, Any])
    assert_type(message.to_dict(), dict[str, Any])


def values_do_not_change(message: Message, event: PingEvent) -> None:
    message.id = "x"  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
    event.raw = "x"  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]


def the_blocks(text: TextBlock, tool: ToolUseBlock, unknown: UnknownBlock) -> None:
    assert_type(text.text, str)
    assert_type(text.citations, tuple[Citation, ...] | None)
    assert_type(text.unfolded, tuple[ContentBlockDelta, ...])
    assert_type(tool.id, str | None)
    assert_type(tool.input, dict[str, Any] | None)
    assert_type(tool.input_json, str)
    assert_type(tool.input_state, InputState)
    assert_type(tool.input_error, InputError | None)
    assert_type(tool.partial_input, Any)
    assert_type(unknown.input, dict[str, Any] | None)
    assert_type(unknown.wire_type, str)


def the_events(
    message_delta: MessageDeltaEvent,
    block_stop: ContentBlockStopEvent,
    message_stop: MessageStopEvent,
    error: ErrorEvent,
) -> None:
    assert_type(message_delta.delta, MessageDelta)
    assert_type(message_delta.usage, MessageDeltaUsage)
    assert_type(message_delta.usage.output_tokens, int | None)
    assert_type(block_stop.index, int)
    assert_type(block_stop.content_block, ContentBlock | None)
    assert_type(message_stop.message, Message | None)
    assert_type(error.error, ErrorDetail)
    assert_type(error.error_type, str | None)
    assert_type(error.message, str)
    assert_type(error.code, int | None)
    assert_type(error.raw, str | None)


def raw_names_are_the_same_classes(
    event: RawMessageStreamEvent, delta: RawContentBlockDeltaEvent
) -> None:
    assert_type(event, MessageStreamEvent)
    assert_type(delta.delta, ContentBlockDelta)


def made_by_hand() -> None:
    assert_type(TextBlock("x"), TextBlock)
    assert_type(TextBlock("x", citations=()), TextBlock)
    assert_type(ThinkingBlock(thinking="x", signature=""), ThinkingBlock)
    assert_type(ToolUseBlock("id", "name", {"a": 1}), ToolUseBlock)
    assert_type(RawContentBlockDeltaEvent(0, TextDelta("x")).delta, ContentBlockDelta)


def functions(payload: dict[str, Any], event: MessageStreamEvent) -> None:
    assert_type(event_from_dict(payload), MessageStreamEvent)
    assert_type(block_from_dict(payload), ContentBlock)
    assert_type(message_from_dict(payload), Message)
    assert_type(encode_event(event), bytes)
    assert_type(encode_sse(ServerSentEvent(data="x")), bytes)
    assert_type(is_event_stream(None), bool)
    assert_type(equivalent_status(None), int)
    assert_type(status_error("no", status_code=529), APIStatusError)


def event_streams(chunk: bytes | bytearray | memoryview) -> None:
    decoder = SSEDecoder(Limits(event_bytes=1024))
    assert_type(decoder.receive_data(chunk), Iterator[ServerSentEvent])
    assert_type(decoder.receive_eof(), Iterator[ServerSentEvent])
    assert_type(decoder.last_event_id, str)
    assert_type(decoder.reconnection_time, int | None)
    assert_type(decoder.violations, tuple[Violation, ...])
    for event in decoder.receive_data(chunk):
        assert_type(event.event, str)
        assert_type(event.name, str | None)
        assert_type(event.data, str)
        assert_type(event.id, str)
        assert_type(event.retry, int | None)


def requests(params: dict[str, Any], extra: Mapping[str, str | None]) -> None:
    request = build_request(params, api_key=None, betas=["a"], headers=extra, query=[("a", "b")])
    assert_type(request, Request)
    assert_type(request.headers, dict[str, str])
    assert_type(request.body, bytes)
    assert_type(request.target, str)


def parameters(message: Message, block: ContentBlock, system: str | NotGiven = NOT_GIVEN) -> None:
    assert_type(to_param(message), dict[str, Any])
    assert_type(to_param(message, "drop"), dict[str, Any])
    assert_type(to_param(block), dict[str, Any])
    assert_type(to_param(block, broken_input="wrap"), dict[str, Any])
    assert_type(to_param(block, "drop"), dict[str, Any] | None)
    if system is not NOT_GIVEN:
        assert_type(system, str)


def histories(messages: list[dict[str, Any]], answer: Message) -> None:
    problems = check_messages([*messages, answer], tools=[{"name": "a"}], api_version="2026-10-21")
    assert_type(problems, tuple[Problem, ...])
    for problem in problems:
        assert_type(problem.path, str)
        assert_type(problem.code, ProblemCode)
        assert_type(problem.sentence, str)
        assert_type(problem.certain, bool)
    for call in tool_calls(answer):
        assert_type(call, ToolCall)
        assert_type(call.id, str)
        assert_type(call.name, str)
        assert_type(call.input, dict[str, Any])
    assert_type(merge_turns([answer, answer]), Message)
    assert_type(answer.text, str)
    to_param(answer, duplicate_ids="keep", surrogates="replace")
    to_param(answer, surrogates="drop")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
    build_request({}, broken_input="drop", duplicate_ids="keep", surrogates="replace")
    build_request({}, broken_input="keep")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def responses(status: int, headers: Headers, body: bytes) -> None:
    answer = check_response(status, headers)
    assert_type(answer, APIError | BodyNeeded | None)
    if answer is BODY_NEEDED:
        answer = check_response(status, headers, body)
    assert_type(answer, APIError | None)
    if answer is not None:
        assert_type(retry_delay(0, answer, 0.5), float | None)
    assert_type(headers["request-id"], str)


def exceptions(machine: StreamMachine) -> None:
    try:
        machine.final_message()
    except OverloadedError as error:
        assert_type(error.status_code, int)
        assert_type(error.http_status, int)
        assert_type(error.type, str | None)
        assert_type(error.request_id, str | None)
        assert_type(error.headers, dict[str, str])
        assert_type(error.body, Any)
    except LimitError as error:
        assert_type(error.limit, str)
        assert_type(error.maximum, int)
    except ProtocolError as error:
        assert_type(error.code, str)
        assert_type(error.event_number, int)
        assert_type(error.byte_offset, int | None)
        assert_type(error.raw, str)
        assert_type(error.position, int | None)
    except NotAnEventStreamError as error:
        assert_type(error.raw, str)
    except IncompleteMessageError as error:
        takes_a_runtime_error(error)
    except APIError as error:
        assert_type(error.message, str)
        assert_type(error.partial_message, Message | None)
        assert_type(error.verdict, Verdict)
        assert_type(error.content_emitted, bool)


def violations(violation: Violation) -> None:
    assert_type(violation.code, ViolationCode)
    assert_type(violation.code.meaning, str)
    assert_type(violation.code.action, str)
    assert_type(violation.message, str)
    assert_type(violation.event_number, int)
    assert_type(violation.byte_offset, int | None)
    assert_type(violation.excerpt, str)
    assert_type(violation.code.partition("_"), tuple[str, str, str])  # a ViolationCode is a str


def takes_a_runtime_error(error: RuntimeError) -> None:
    assert_type(error.args, tuple[Any, ...])
