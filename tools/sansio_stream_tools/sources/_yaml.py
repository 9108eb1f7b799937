"""YAML text in, plain values out. A tag never constructs an object of a class.

PyYAML's loader in C turns the text into parsing events. This module composes the values from the
events itself, for two reasons: the loaders of PyYAML recurse, so a deeply nested file can exhaust
the stack of the process; and they have no limit on the number of values.
"""

from __future__ import annotations

import binascii
from typing import Any, Final

from ._source import SourceError

__all__ = ["parse_yaml"]

MOST_NODES: Final = 1_000_000
"""The maximum number of values in a file. An alias counts as one value, because it never copies its
value.
"""

MOST_DEPTH: Final = 100
"""The maximum number of sequences and mappings inside one another. A cassette has about ten."""

BINARY_TAGS: Final = frozenset({"tag:yaml.org,2002:binary", "!binary"})
"""The tags of base64: Python's, and Ruby's."""

NULLS: Final = frozenset({"", "~", "null", "Null", "NULL"})


def parse_yaml(data: bytes, what: str) -> Any:
    """Return the value of the first document of a YAML text.

    A scalar with a binary tag becomes bytes. A null without quotes and without a tag becomes None.
    Any other scalar becomes str, also a number. All other tags are ignored, for example
    `!!python/str` and `!!python/unicode`. A key that is not a str is left out with its value.
    Several places of the result may be the same object, and an object may contain itself.

    Args:
        data: the text.
        what: the subject of the error's sentence.

    Raises:
        SourceError: if the text is not YAML, has too many values or nests too deeply, or if PyYAML
            is not installed.
    """
    try:
        import yaml  # noqa: PLC0415 - it may be missing
    except ImportError as error:
        raise SourceError(
            f"{what} is YAML, and PyYAML is not installed: pip install 'sansio-stream[formats]'"
        ) from error
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    composer = Composer(what)
    try:
        for event in yaml.parse(data, Loader=loader):
            match event:
                case yaml.ScalarEvent(value=text, tag=tag, implicit=(is_plain, _)):
                    composer.scalar(text, tag, event.anchor, is_plain=is_plain)
                case yaml.SequenceStartEvent():
                    composer.begin([], event.anchor)
                case yaml.MappingStartEvent():
                    composer.begin({}, event.anchor)
                case yaml.CollectionEndEvent():
                    composer.finish()
                case yaml.AliasEvent(anchor=str(anchor)):
                    composer.alias(anchor)
                case yaml.DocumentEndEvent():
                    break
                case _:
                    pass
    except yaml.YAMLError as error:
        raise SourceError(f"{what} is not YAML: {reason_of(error)}") from error
    return composer.root


def reason_of(error: Any) -> str:
    """Return the reason of a YAMLError as a clause."""
    mark = getattr(error, "problem_mark", None)
    reason = getattr(error, "problem", None) or getattr(error, "reason", None) or "it is damaged"
    return f"{reason} (line {mark.line + 1:,})" if mark is not None else str(reason)


class Composer:
    """Composes a value from parsing events, without recursion.

    Attributes:
        root: the composed value; None if there is none yet.
    """

    def __init__(self, what: str) -> None:
        self.root: Any = None
        self._what = what
        self._open: list[list[Any] | dict[str, Any]] = []
        # For each open container, the key that waits for its value; NO_KEY if none does, and in
        # sequences; None for a key that is left out.
        self._keys: list[Any] = []
        self._anchors: dict[str, Any] = {}
        self._nodes = 0

    def scalar(self, text: str, tag: str | None, anchor: str | None, *, is_plain: bool) -> None:
        """Add a scalar."""
        value: Any = text
        if tag in BINARY_TAGS:
            try:
                value = binascii.a2b_base64(text)
            except binascii.Error as error:
                raise SourceError(f"{self._what} has invalid base64") from error
        elif tag is None and is_plain and text in NULLS:
            value = None
        self._add(value, anchor)

    def begin(self, container: list[Any] | dict[str, Any], anchor: str | None) -> None:
        """Add a sequence or a mapping, and open it."""
        if len(self._open) == MOST_DEPTH:
            raise SourceError(f"{self._what} has YAML that is nested too deeply")
        self._add(container, anchor)
        self._open.append(container)
        self._keys.append(NO_KEY)

    def finish(self) -> None:
        """Close the innermost container."""
        self._open.pop()
        self._keys.pop()

    def alias(self, anchor: str) -> None:
        """Add the value that has this anchor once more."""
        if anchor not in self._anchors:
            raise SourceError(f"{self._what} has a YAML alias without an anchor")
        self._add(self._anchors[anchor], None)

    def _add(self, value: Any, anchor: str | None) -> None:
        self._nodes += 1
        if self._nodes > MOST_NODES:
            raise SourceError(f"{self._what} has more than {MOST_NODES:,} values")
        if anchor is not None:
            self._anchors[anchor] = value
        if not self._open:
            self.root = value
            return
        container = self._open[-1]
        if isinstance(container, list):
            container.append(value)
        elif self._keys[-1] is NO_KEY:
            self._keys[-1] = value if isinstance(value, str) else None
        else:
            key, self._keys[-1] = self._keys[-1], NO_KEY
            if key is not None:
                container[key] = value


NO_KEY: Final = object()
"""Stands for a key that was not read yet."""
