"""The parameters of a call: their types for checkers, and a check of misspelt names at run time.

For checkers the lists of names are closed, so that they find each misspelt name. At run time the
lists are open, so that a parameter which the API gets tomorrow can be sent today.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, TypeAlias, TypeVar

from sansio_stream.errors import printable
from sansio_stream.message import ContentBlock, Message
from sansio_stream.request import NotGiven, ParamPolicies

if TYPE_CHECKING:
    from sansio_stream.errors import Limits

    from ._recording import RecordTo
    from ._timeout import Timeout

__all__ = ["CallOptions", "CreateParameters", "MessageParameters"]

AnyValue = TypeVar("AnyValue")


class Model(Protocol):
    """An object of the official SDK, or a pydantic model."""

    def model_dump(self, *, mode: str = ..., by_alias: bool | None = ...) -> Any:
        """Return the members of the model."""


class TimeoutLike(Protocol):
    """An `httpx.Timeout`, or another object with the same four limits in seconds."""

    connect: float | None
    read: float | None
    write: float | None
    pool: float | None


AnyTimeout: TypeAlias = "Timeout | TimeoutLike | float | NotGiven | None"
"""A timeout of a client or of a call. None means no timeout. `NOT_GIVEN` means the default."""

# Not `dict`, which is invariant: a dict of strings is no dict of objects.
Object: TypeAlias = Mapping[str, object] | Model
"""A JSON object."""

Turn: TypeAlias = Message | Object
"""A turn of `messages`. A `Message` of this library is sent as its role and its content."""

Block: TypeAlias = ContentBlock | Object
"""A content block."""

Given: TypeAlias = AnyValue | NotGiven
"""A member of the body. `NOT_GIVEN` leaves it out."""

OrNull: TypeAlias = AnyValue | NotGiven | None
"""A member of the body that may be null. `NOT_GIVEN` leaves it out."""


class CallOptions(ParamPolicies, total=False):
    """The options of one call of `stream` or `create`. They are no members of the body.

    The policies `broken_input`, `duplicate_ids` and `surrogates` are those of `to_param`.

    Attributes:
        timeout: a `Timeout`, seconds, None for no timeout, or an `httpx.Timeout`.
        max_retries: how often the request is sent again before its stream opens.
        max_retry_after: the longest wait in seconds before a retry that a server may ask for.
        extra_headers: more headers. None removes a header.
        extra_query: added to the URL.
        extra_body: more members of the body, also of names that the checkers do not know.
        betas: the names of betas, sent as `anthropic-beta`.
        record_to: a path or a binary file that gets a capture of the response.
        strict: see `StreamMachine`.
        limits: see `StreamMachine`.
        partial_strings: see `StreamMachine`.
    """

    timeout: AnyTimeout
    max_retries: int | NotGiven
    max_retry_after: float | NotGiven
    extra_headers: Mapping[str, str | None] | None
    extra_query: Mapping[str, str] | None
    extra_body: Mapping[str, object] | None
    betas: Sequence[str] | NotGiven | None
    record_to: RecordTo | NotGiven | None
    strict: bool
    limits: Limits | None
    partial_strings: bool


class MessageParameters(CallOptions, total=False):
    """The parameters of `stream` beside `model`, `max_tokens` and `messages`, and its options.

    They are the parameters of the official SDK 2.14, of its beta methods too, and the sampling
    parameters `temperature`, `top_k` and `top_p`, which API versions before 2026-10-21 accept. The
    documentation of the API describes them. Newer ones go into `extra_body`.
    """

    billing_policy: OrNull[Object | str]
    cache_control: OrNull[Object]
    compaction: OrNull[Object]
    container: OrNull[Object | str]
    context_management: OrNull[Object]
    diagnostics: OrNull[Object]
    fallback_credit_token: OrNull[Object | str]
    fallbacks: OrNull[Object | Sequence[Object] | str]
    inference_geo: OrNull[str]
    mcp_servers: Given[Sequence[Object]]
    metadata: Given[Object]
    output_config: Given[Object]
    output_format: OrNull[Object]
    service_tier: Given[str]
    speed: OrNull[str]
    stop_sequences: Given[Sequence[str]]
    system: Given[str | Sequence[Block]]
    temperature: OrNull[float]
    thinking: Given[Object]
    thread: OrNull[Object]
    tool_choice: Given[Object]
    tools: Given[Sequence[Object]]
    top_k: OrNull[int]
    top_p: OrNull[float]
    user_profile_id: Given[str]
    workspace_id: Given[str]


class CreateParameters(MessageParameters):
    """The parameters of `create`: those of `stream`, and `stream` itself, which must be True."""

    stream: Literal[True]


OPTIONS: Final = frozenset(CallOptions.__annotations__)
"""The names of all options of a call."""

PARAMETERS: Final = frozenset(CreateParameters.__annotations__) | {
    "max_tokens",
    "messages",
    "model",
}
"""The names of all parameters of the API that are known, and of all options."""


def check_names(names: Mapping[str, Any]) -> None:
    """Raise TypeError if a name seems to be a misspelt option.

    An option that is not recognised would be sent to the API as a member of the body. A name is
    taken for a misspelt option if it has the same first letter and differs by at most two edits,
    and is no known parameter of the API.
    """
    for name in names:
        for option in OPTIONS if name not in PARAMETERS else ():
            if name[:1] == option[0] and edit_distance(name, option) <= 2:
                raise TypeError(
                    f"unexpected keyword argument {printable(name, 100)!r}: did you mean"
                    f" {option!r}? (A parameter of the API with this name goes into extra_body)"
                )


def edit_distance(one: str, other: str) -> int:
    """Return how many characters must be inserted, removed or replaced to change a name."""
    if abs(len(one) - len(other)) > 2:
        return 3  # or more, which makes no difference here; a caller's name may be of any length
    distances: list[int] = [*range(len(other) + 1)]
    for row, letter in enumerate(one, start=1):
        previous = distances
        distances = [row]
        for column, target in enumerate(other, start=1):
            replaced = previous[column - 1] + (letter != target)
            distances.append(min(replaced, previous[column] + 1, distances[column - 1] + 1))
    return distances[-1]
