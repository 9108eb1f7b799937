"""The exceptions: their class tree, their attributes, and the text that they show."""

import copy
import json
import pickle
import re
from typing import TYPE_CHECKING, Any, Final

import attrs
import pytest

import sansio_stream.errors as module
from sansio_stream import (
    ErrorEvent,
    StreamMachine,
    block_from_dict,
    build_request,
    check_response,
    message_from_dict,
    message_from_json,
    parse_capture,
    to_param,
)
from sansio_stream.errors import (
    EXCERPT_CHARACTERS,
    APIConnectionError,
    APIError,
    APIStatusError,
    APITimeoutError,
    AuthenticationError,
    BadRequestError,
    ClientClosedRequestError,
    ConflictError,
    ContentTooLargeError,
    GatewayTimeoutError,
    HTTPNotImplementedError,
    IncompleteMessageError,
    InternalServerError,
    LimitError,
    Limits,
    NotAnEventStreamError,
    NotFoundError,
    OverloadedError,
    PaymentRequiredError,
    PermissionDeniedError,
    PreconditionFailedError,
    ProtocolError,
    RateLimitError,
    RequestHeaderFieldsTooLargeError,
    RequestTimeoutError,
    RequestTooLargeError,
    ServiceUnavailableError,
    UnprocessableEntityError,
    Verdict,
    Violation,
    ViolationCode,
    copy_for_raise,
    equivalent_status,
    exceptions,
    excerpt,
    printable,
    status_error,
)

if TYPE_CHECKING:
    from collections.abc import Callable

# The tree


def tree(root: type[APIError]) -> list[type[APIError]]:
    """Return a class and all its subclasses, each once."""
    below = [cls for child in root.__subclasses__() for cls in tree(child)]
    return list(dict.fromkeys([root, *below]))


def drawn_tree() -> dict[str, tuple[str, int | None]]:
    """Parse the tree in the module docstring.

    Returns:
        For each class the name of its parent, or "" for the root, and its status.
    """
    drawn: dict[str, tuple[str, int | None]] = {}
    path: list[tuple[int, str]] = [(-1, "")]
    for line in (module.__doc__ or "").splitlines():
        match = re.match(r"    ([ │├└─]*)(\w+Error)\b *(\d{3})?", line)
        if match:
            column, name, status = match.start(2), match[2], match[3]
            while path[-1][0] >= column:
                path.pop()
            drawn[name] = (path[-1][1], int(status) if status else None)
            path.append((column, name))
    return drawn


def test_the_tree_in_the_docstring_is_the_real_one() -> None:
    real = {
        cls.__name__: next(
            (base.__name__ for base in cls.__bases__ if issubclass(base, APIError)), ""
        )
        for cls in tree(APIError)
    }
    assert {name: parent for name, (parent, _) in drawn_tree().items()} == real


def test_the_statuses_in_the_docstring_are_the_real_ones() -> None:
    drawn = {status: name for name, (_, status) in drawn_tree().items() if status}
    assert drawn == {
        status: type(status_error("", status_code=status)).__name__ for status in drawn
    }
    assert drawn.keys() == {*exceptions.STATUS_ERRORS, 500}


def test_every_exception_is_exported() -> None:
    assert {cls.__name__ for cls in tree(APIError)} <= set(exceptions.__all__)


def test_an_incomplete_message_is_also_a_runtime_error() -> None:
    assert issubclass(IncompleteMessageError, RuntimeError)


def test_a_timeout_is_a_connection_error() -> None:
    assert issubclass(APITimeoutError, APIConnectionError)


# By status

BY_STATUS = {
    400: BadRequestError,
    401: AuthenticationError,
    402: PaymentRequiredError,
    403: PermissionDeniedError,
    404: NotFoundError,
    405: APIStatusError,
    408: RequestTimeoutError,
    409: ConflictError,
    412: PreconditionFailedError,
    413: ContentTooLargeError,
    418: APIStatusError,
    422: UnprocessableEntityError,
    424: APIStatusError,
    429: RateLimitError,
    431: RequestHeaderFieldsTooLargeError,
    499: ClientClosedRequestError,
    500: InternalServerError,
    501: HTTPNotImplementedError,
    502: InternalServerError,
    503: ServiceUnavailableError,
    504: GatewayTimeoutError,
    520: InternalServerError,
    529: OverloadedError,
    599: InternalServerError,
}


@pytest.mark.parametrize(("status", "cls"), BY_STATUS.items())
def test_each_status_has_its_class(status: int, cls: type[APIStatusError]) -> None:
    error = status_error("no", status_code=status, type="t", request_id="req_1", body={"a": 1})
    assert type(error) is cls
    assert str(error) == error.message == "no"
    assert (error.status_code, error.type, error.request_id) == (status, "t", "req_1")
    assert error.body == {"a": 1}


def test_every_5xx_is_an_internal_server_error() -> None:
    for status in range(500, 600):
        assert isinstance(status_error("", status_code=status), InternalServerError)


def test_request_too_large_error_is_another_name_of_content_too_large_error() -> None:
    assert RequestTooLargeError is ContentTooLargeError


@pytest.mark.parametrize(
    ("error_type", "status"),
    [
        ("invalid_request_error", 400),
        ("authentication_error", 401),
        ("billing_error", 402),
        ("permission_error", 403),
        ("not_found_error", 404),
        ("conflict_error", 409),
        ("request_too_large", 413),
        ("rate_limit_error", 429),
        ("api_error", 500),
        ("timeout_error", 504),
        ("overloaded_error", 529),
        ("a_new_error", 500),
        ("", 500),
        (None, 500),
    ],
)
def test_each_error_type_has_its_equivalent_status(error_type: str | None, status: int) -> None:
    assert equivalent_status(error_type) == status


# The attributes of an exception

FIELDS: dict[type[APIError], dict[str, Any]] = {
    ProtocolError: {
        "code": "cut_frame",
        "event_number": 7,
        "byte_offset": 99,
        "raw": "{",
        "position": 1,
    },
    LimitError: {"limit": "event_bytes", "maximum": 10},
    NotAnEventStreamError: {"raw": "<html>"},
    APIStatusError: {
        "status_code": 529,
        "http_status": 200,
        "type": "overloaded_error",
        "request_id": "req_1",
        "body": {"error": {"details": None}},
        "headers": {"retry-after": "15"},
    },
    IncompleteMessageError: {
        "first_loss": Violation(ViolationCode.UNFIT_DELTA, "", 3, 40, "{}", loses_content=True),
    },
    APIError: {
        "partial_message": message_from_dict({"content": [{"type": "text", "text": "Hel"}]}),
        "verdict": Verdict.ERRORED,
        "content_emitted": True,
    },
}


def attributes_of(cls: type[APIError]) -> dict[str, Any]:
    """Return a value for every keyword argument of the class."""
    return {
        name: value
        for base, fields in FIELDS.items()
        if issubclass(cls, base)
        for name, value in fields.items()
    }


@pytest.mark.parametrize("cls", tree(APIError))
def test_every_exception_has_all_its_fields_as_keywords_with_defaults(cls: type[APIError]) -> None:
    plain = cls("what happened")
    assert plain.partial_message is None
    assert plain.verdict is Verdict.PENDING
    assert not plain.content_emitted
    fields = attributes_of(cls)
    assert vars(plain).keys() == {"message", *fields}
    assert vars(cls("what happened", **fields)) == {"message": "what happened", **fields}


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("cls", tree(APIError))
def test_every_exception_pickles_and_copies_with_all_its_fields(
    cls: type[APIError], protocol: int
) -> None:
    error = cls("what happened", **attributes_of(cls))
    pickled = pickle.loads(pickle.dumps(error, protocol))
    for other in (pickled, copy.copy(error), copy.deepcopy(error)):
        assert type(other) is cls
        assert other is not error
        assert other.args == error.args == ("what happened",)
        assert str(other) == "what happened"
        assert vars(other) == vars(error)


def test_an_error_copies_the_headers_that_it_is_given() -> None:
    headers = {"retry-after": "15"}
    error = APIStatusError("no", headers=headers)
    headers.clear()
    assert error.headers == {"retry-after": "15"}
    assert APIStatusError("no").headers == {}


def test_copy_for_raise_does_not_copy_the_traceback() -> None:
    error = LimitError("too much", limit="blocks", maximum=3, code="blocks")
    with pytest.raises(LimitError) as first:
        raise error
    again = copy_for_raise(error)
    assert first.value.__traceback__ is not None
    assert again.__traceback__ is None
    assert again.__cause__ is None
    assert again.__suppress_context__
    assert vars(again) == vars(error)


def test_copy_for_raise_copies_the_cause() -> None:
    cause = OSError("gone")
    error = LimitError("too much", limit="blocks", maximum=3, code="blocks")
    error.__cause__ = cause
    assert copy_for_raise(error).__cause__ is cause


# The text of an exception

HIDDEN: Final = "\x00\x07\x1b[2J\x7f\x85\n\r\t\u200b\u202e\u2066\u2028\u2029\ufeff\ud800\U000e0041"


@pytest.mark.parametrize("cls", tree(APIError))
def test_the_text_of_an_exception_is_one_line_without_invisible_characters(
    cls: type[APIError],
) -> None:
    error = cls(f"it said {HIDDEN} and more")
    assert str(error) == error.message == error.args[0]
    assert str(error).isprintable()
    assert str(error).startswith(r"it said \x00\x07\x1b[2J\x7f\x85\n\r\t\u200b\u202e")
    assert str(error).endswith(r"\ufeff\ud800\U000e0041 and more")


@pytest.mark.parametrize("cls", tree(APIError))
@pytest.mark.parametrize("character", ["x", "\x1b", "\U000e0041"])
def test_the_text_of_an_exception_is_bounded_and_a_copy_has_the_same_text(
    cls: type[APIError], character: str
) -> None:
    error = cls(character * 1_000_000)
    assert len(str(error)) == EXCERPT_CHARACTERS
    assert str(error).endswith("…")
    for other in (copy_for_raise(error), pickle.loads(pickle.dumps(error)), copy.deepcopy(error)):
        assert str(other) == str(error)


def test_an_error_of_the_server_is_kept_unchanged_and_shown_without_invisible_characters() -> None:
    sent = f"{HIDDEN}{5000 * 'x'}"
    payload = {"type": "error", "error": {"type": "api_error", "message": sent}}
    body = json.dumps(payload).encode()
    answer = check_response(500, {}, body)
    machine = StreamMachine()
    machine.receive_data(b"event: error\ndata: " + body + b"\n\n")
    (event,) = machine.receive_eof()
    assert isinstance(event, ErrorEvent)
    assert event.message == sent
    with pytest.raises(APIStatusError) as raised:
        machine.final_message()
    for error in (answer, raised.value):
        assert isinstance(error, APIStatusError)
        assert error.body == payload
        assert str(error) == printable(sent)
        assert str(error).isprintable()
        assert len(str(error)) == EXCERPT_CHARACTERS


@pytest.mark.parametrize(
    "answer",
    [
        check_response(200, {"content-type": f"application/json; {HIDDEN}{'x' * 5000}"}, b"[]"),
        check_response(302, {"location": f"/{HIDDEN}{'x' * 5000}"}),
        check_response(500, {}, HIDDEN.encode("utf-8", "replace") * 1000),
    ],
)
def test_headers_and_bodies_are_shown_without_invisible_characters(answer: Any) -> None:
    assert isinstance(answer, APIError)
    assert str(answer).isprintable()
    assert len(str(answer)) <= EXCERPT_CHARACTERS
    assert str(answer).endswith(("[]'", ", which was not followed", "…"))


def test_ordinary_text_of_any_language_is_shown_unchanged() -> None:
    for text in ("é e\u0301", "界", "٣ שלום", "\u202f\xa0x\u3000", r"C:\new\x1b"):
        assert printable(text) == text


def test_the_texts_of_errors_about_files_and_blocks_are_bounded_and_printable() -> None:
    name = HIDDEN + "x" * 5000
    stored = {"format": "sansio-stream message", "version": 1, "message": {}, "blocks": {name: 1}}
    block = block_from_dict({"type": "tool_use", "id": name, "name": "f", "input": []})
    calls: list[Callable[[], object]] = [
        lambda: parse_capture(b'{"sansio_stream_capture": %b}\n' % (b"9" * 4000)),
        lambda: message_from_json(json.dumps({**stored, "blocks": {name: 1}})),
        lambda: to_param(block),
        lambda: build_request({"messages": [{"content": [block]}]}),
        lambda: build_request({name: float("nan")}),
    ]
    for call in calls:
        with pytest.raises(ValueError) as raised:  # noqa: PT011  (the text is tested below)
            call()
        assert str(raised.value).isprintable()
        assert len(str(raised.value)) < 1200


# Violations, limits


def test_every_violation_code_has_its_name_a_meaning_and_an_action() -> None:
    for code in ViolationCode:
        assert code == code.value == code.name.lower() == str(code)
        assert code.meaning
        assert code.action
        assert not code.meaning[0].isupper()
        assert not code.meaning.endswith(".")
    assert len({code.meaning for code in ViolationCode}) == len(ViolationCode)


def test_a_violation_code_is_found_by_its_name_and_pickles_as_itself() -> None:
    by_name: Any = ViolationCode
    for code in ViolationCode:
        assert by_name(str(code)) is code
        assert pickle.loads(pickle.dumps(code)) is code
        assert copy.deepcopy(code) is code


def test_a_violation_is_a_value() -> None:
    violation = Violation(ViolationCode.CUT_FRAME, "cut", 3, None, "{")
    same = pickle.loads(pickle.dumps(violation))
    assert same == violation == copy.deepcopy(violation)
    assert len({violation, same}) == 1
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        violation.excerpt = ""  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]


def test_the_values_of_a_verdict_are_different_sentences() -> None:
    assert len({verdict.value for verdict in Verdict}) == len(Verdict)
    for verdict in Verdict:
        assert pickle.loads(pickle.dumps(verdict)) is verdict


@pytest.mark.parametrize("length", [0, 1, EXCERPT_CHARACTERS - 1, EXCERPT_CHARACTERS])
def test_an_excerpt_of_a_short_text_is_the_text(length: int) -> None:
    assert excerpt("é" * length) == "é" * length


def test_an_excerpt_of_a_long_text_is_bounded_and_marked() -> None:
    text = "é" * (EXCERPT_CHARACTERS + 1)
    assert excerpt(text) == text[: EXCERPT_CHARACTERS - 1] + "…"
    assert len(excerpt(text * 1000)) == EXCERPT_CHARACTERS == 1024


def test_the_default_limits_are_as_documented() -> None:
    assert Limits() == Limits(
        event_bytes=67_108_864,
        block_bytes=67_108_864,
        total_bytes=1_073_741_824,
        blocks=10_000,
        depth=200,
        violations=1_000,
    )
