"""Styles: the ways to write payloads as the bytes of a legal event stream.

This module knows no order of events. All styles have the same meaning, so a reader that returns
different results for them has a bug.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import attrs

from ..encode import encode_json
from ..errors import ViolationCode

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["PLAIN", "Style"]

LineEnd: TypeAlias = Literal["\n", "\r\n", "\r"]

BETWEEN_FRAMES: Final = ("", ": keepalive", ":", "\n", "id: 7", "retry: 250", "event: nothing\n")
"""Texts that may stand between two frames and have no meaning: comments, blank lines, fields,
an event without data, or no text at all.
"""


@attrs.frozen
class Style:
    r"""A style in which payloads are written.

    Attributes:
        line_end: "\n", "\r\n" or "\r".
        event_names: whether frames have an `event:` line. Without it, a machine reports the code
            `missing_event_name` for every frame, and nothing else changes.
        ascii: whether JSON escapes every character beyond ASCII instead of writing it as UTF-8.
        sort_keys: whether the members of JSON objects are sorted, so that `type` is not the first.
        padding: the number of spaces before the last brace of a payload.
        indent: whether JSON is spread over many lines, so that a frame has many `data:` lines.
        space: whether a space follows the colon of a field.
        data_first: whether `data:` comes before `event:`.
        between: the texts between frames, used in turn. See `BETWEEN_FRAMES`.
        byte_order_mark: whether the body begins with a byte order mark.
    """

    line_end: LineEnd = "\n"
    event_names: bool = True
    ascii: bool = False
    sort_keys: bool = False
    padding: int = 0
    indent: bool = False
    space: bool = True
    data_first: bool = False
    between: tuple[str, ...] = ()
    byte_order_mark: bool = False

    def body(self, payloads: Iterable[Mapping[str, Any]]) -> bytes:
        """Return the bytes of a whole body."""
        return self.joined(map(self.frame, payloads))

    def joined(self, frames: Iterable[bytes]) -> bytes:
        """Return the bytes of a body of these frames, with the texts between them."""
        mark = "\N{BYTE ORDER MARK}".encode() if self.byte_order_mark else b""
        gaps = itertools.cycle(map(self._gap, self.between or ("",)))
        return mark + b"".join(next(gaps) + frame for frame in frames)

    def frame(self, payload: Mapping[str, Any], name: str | None = None) -> bytes:
        """Return a whole frame. Its name is `name`, or by default the payload's type."""
        return self.frame_of(str(payload.get("type")) if name is None else name, self.data(payload))

    def frame_of(self, name: str, data: str) -> bytes:
        """Return a frame with this name and data. The name must not contain a line end.

        Each line of `data` becomes one `data:` line.
        """
        colon = ": " if self.space else ":"
        fields = [f"event{colon}{name}"] if self.event_names and name else []
        lines = [f"data{colon}{line}" for line in data.split("\n")]
        fields = lines + fields if self.data_first else fields + lines
        return self.lines(*fields, "")

    def lines(self, *lines: str) -> bytes:
        """Return the bytes of lines, each with its line end. An empty line ends a frame."""
        return "".join(line + self.line_end for line in lines).encode()

    def data(self, payload: Mapping[str, Any]) -> str:
        """Return the JSON of a payload."""
        text = encode_json(
            payload,
            separators=None,
            ensure_ascii=self.ascii,
            sort_keys=self.sort_keys,
            indent=1 if self.indent else None,
        )
        return text[:-1] + self.padding * " " + text[-1]

    @property
    def codes(self) -> frozenset[str]:
        """The codes of the violations in every frame that is written in this style."""
        return frozenset() if self.event_names else frozenset({ViolationCode.MISSING_EVENT_NAME})

    def _gap(self, gap: str) -> bytes:
        return self.lines(*gap.split("\n")) if gap else b""


PLAIN: Final = Style()
"""The style of the API, without its padding."""
