"""The settings of a client and of one call: parameters in, a request and its options out."""

from __future__ import annotations

import json
import os
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Final, TypedDict

from attrs import evolve, frozen

from sansio_stream.request import NOT_GIVEN, NotGiven, ParamPolicies, Request, build_request

from ._attempts import Attempts, Retries
from ._parameters import check_names
from ._recording import Recorder
from ._stream_core import CoreOptions, StreamOptions
from ._timeout import Deadline, Timeout

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sansio_stream.errors import APIError, Limits

    from ._parameters import AnyTimeout
    from ._recording import RecordTo

__all__ = ["ClientSettings"]

DEFAULT_URL: Final = "https://api.anthropic.com"

POLICIES: Final = frozenset(ParamPolicies.__annotations__)

KEY_HEADERS: Final = frozenset({"authorization", "x-api-key"})


@frozen
class Call:
    """One call of `stream` or `create`: the request, and the options of sending it."""

    request: Request
    timeouts: Timeout
    retries: Retries
    recorder: Recorder | None
    options: CoreOptions

    def options_of(self, attempts: Attempts, deadline: Deadline | None) -> StreamOptions:
        """Return the options for the stream of the next attempt."""
        return {
            **self.options,
            "record_to": self.recorder,
            "will_retry": attempts.will_retry if attempts.are_left else None,
            "total": deadline,
        }


class ClientSettings(TypedDict, total=False):
    """The settings that every client accepts.

    Attributes:
        api_key: the header `x-api-key`.
        auth_token: the header `authorization: Bearer`. If neither `api_key` nor `auth_token` is
            given, the environment variables ANTHROPIC_API_KEY and ANTHROPIC_AUTH_TOKEN are used.
            If they are not set, neither header is sent. If `base_url` is the default and
            `http_client` is not given, each call then raises ValueError, unless `default_headers`
            or `extra_headers` have one of the two headers. None as its value counts.
        base_url: the URL without `/v1/messages`. The default is ANTHROPIC_BASE_URL, or else
            https://api.anthropic.com.
        timeout: a `Timeout`, a number of seconds, None for no timeout, or an `httpx.Timeout`.
        max_retries: how often a request is sent again before its stream opens. After that it is
            never sent again. A stream opens with its first frame. If no retry is left, it opens
            with the head of the response.
        max_retry_after: the longest wait before a retry, in seconds, that a server may ask for. If
            it asks for a longer one, the client raises the server's error at once, and the error
            names the wait.
        default_headers: headers that are sent with each request. The value None leaves a header
            out.
        api_version: the header `anthropic-version`.
    """

    api_key: str | None
    auth_token: str | None
    base_url: str | None
    timeout: AnyTimeout
    max_retries: int
    max_retry_after: float
    default_headers: Mapping[str, str | None] | None
    api_version: str


def with_timeout(settings: ClientSettings, timeout: Any) -> ClientSettings:
    """Return the settings, with this timeout if they have none."""
    is_asked_for = not isinstance(settings.get("timeout", NOT_GIVEN), NotGiven)
    return settings if is_asked_for else {**settings, "timeout": timeout}


class Settings(ABC):
    """The settings of a client; see `ClientSettings`.

    A client opens no connection before its first request.

    Attributes:
        has_http_client: whether the HTTP client is the caller's own, which may add a key.
    """

    has_http_client = False

    def __init__(
        self,
        *,
        api_key: str | None = None,
        auth_token: str | None = None,
        base_url: str | None = None,
        timeout: Any = NOT_GIVEN,
        max_retries: int = 2,
        max_retry_after: float = 60.0,
        default_headers: Mapping[str, str | None] | None = None,
        api_version: str = "2023-06-01",
    ) -> None:
        environment = os.environ.get
        if api_key is None and auth_token is None:
            api_key = environment("ANTHROPIC_API_KEY") or None
            auth_token = environment("ANTHROPIC_AUTH_TOKEN") or None
        self.base_url = base_url or environment("ANTHROPIC_BASE_URL") or DEFAULT_URL
        self.timeout = Timeout() if isinstance(timeout, NotGiven) else Timeout.of(timeout)
        self.retries = Retries(max_retries, max_retry_after)
        self._api_key = api_key
        self._auth_token = auth_token
        self._headers = dict(default_headers or {})
        self._api_version = api_version

    def prepare(
        self,
        *,
        timeout: Any = NOT_GIVEN,
        max_retries: int | NotGiven = NOT_GIVEN,
        max_retry_after: float | NotGiven = NOT_GIVEN,
        extra_headers: Mapping[str, str | None] | None = None,
        extra_query: Mapping[str, str] | None = None,
        extra_body: Mapping[str, Any] | None = None,
        betas: Sequence[str] | NotGiven | None = NOT_GIVEN,
        record_to: RecordTo | NotGiven | None = None,
        strict: bool = False,
        limits: Limits | None = None,
        partial_strings: bool = True,
        **params: Any,
    ) -> Call:
        """Separate the options of a call from the members of the body. Return the call.

        Raises ValueError or TypeError if the request cannot be sent.
        """
        policies: Any = {name: params.pop(name) for name in POLICIES & params.keys()}
        check_names(params)
        try:
            request = build_request(
                {**params, **(extra_body or {})},
                base_url=self.base_url,
                api_key=self._api_key,
                auth_token=self._auth_token,
                api_version=self._api_version,
                betas=betas or (),
                headers={**self._headers, **(extra_headers or {})},
                query=extra_query or {},
                **policies,
            )
            self._check_key(request, {*self._headers, *(extra_headers or {})})
        except (TypeError, ValueError) as error:
            # The traceback is dropped, because its frames have the API key as an argument. The
            # message of the error says what is wrong and where.
            raise error.with_traceback(None) from None
        timeouts = self.timeout
        if not isinstance(timeout, NotGiven):
            timeouts = Timeout.of(timeout, idle=timeouts.idle, total=timeouts.total)
        retries = self.retries
        if not isinstance(max_retries, NotGiven):
            retries = evolve(retries, max_retries=max_retries)
        if not isinstance(max_retry_after, NotGiven):
            retries = evolve(retries, max_retry_after=max_retry_after)
        recorder = None
        if record_to is not None and not isinstance(record_to, NotGiven):
            recorder = Recorder(record_to, json.loads(request.body))
        return Call(
            request,
            timeouts.tightened,
            retries,
            recorder,
            {
                "strict": strict,
                "limits": limits,
                "partial_strings": partial_strings,
                "idle": timeouts.idle,
            },
        )

    def _check_key(self, request: Request, more_headers: set[str]) -> None:
        """Raise ValueError if the request goes to Anthropic's API without a key.

        A header that is None is a decision of the caller. A client of the caller's own may add a
        key, and so may a gateway. Any other request would only be refused by the server.

        Args:
            request: the request, with all its headers.
            more_headers: the names of the headers that the caller has set or removed.
        """
        if self.has_http_client or request.url.partition("?")[0] != f"{DEFAULT_URL}/v1/messages":
            return
        if any(request.headers.get(name) for name in KEY_HEADERS):
            return
        if KEY_HEADERS.isdisjoint(name.lower() for name in more_headers):
            raise ValueError(
                "there is no API key: pass api_key or auth_token, or set the environment variable"
                " ANTHROPIC_API_KEY (if no key is needed, pass default_headers={'x-api-key': None})"
            )

    @staticmethod
    @abstractmethod
    def map_error(exc: Exception) -> APIError | None:
        """Return the APIError for an exception of the HTTP library; None for any other."""
