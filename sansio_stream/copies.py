"""Copies of the objects of the vocabulary, with some members changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic

from .codec import AnyWireObject, rest_of, schema_of
from .frozen import make

if TYPE_CHECKING:
    from collections.abc import Mapping


def evolve(item: AnyWireObject, **changes: Any) -> AnyWireObject:
    """Return a copy with these constructor arguments changed."""
    return changed(item, changes)


def copy_with(item: AnyWireObject, **changes: Any) -> AnyWireObject:
    """Return a copy with these members changed, without their entries in `_rest`.

    The copy is therefore written with the new values, whatever the wire had for these members.
    """
    rest = rest_of(item)
    if rest:
        members = schema_of(type(item)).members
        dropped = {each.wire for each in members if each.name in changes and each.wire in rest}
        # This runs at each read of a snapshot, and a peer may send a million members. So `rest` is
        # copied only if an entry is dropped.
        if dropped:
            changes["rest"] = {key: rest[key] for key in rest if key not in dropped} or None
    return changed(item, changes)


def changed(item: AnyWireObject, changes: Mapping[str, Any]) -> AnyWireObject:
    """Return a copy with these constructor arguments changed. Twice as fast as `attrs.evolve`."""
    schema = schema_of(type(item))
    arguments = schema.arguments
    values = dict(zip(schema.names, schema.values(item), strict=True))
    values.update((arguments[argument], value) for argument, value in changes.items())
    return make(type(item), values, values.values())


class CopyTemplate(Generic[AnyWireObject]):
    """A template for many copies of one object that differ only in some arguments.

    It is faster than `changed`, which computes the names and the other values at each call.
    """

    __slots__ = ("_cls", "_names", "_values")

    def __init__(self, item: AnyWireObject, *arguments: str) -> None:
        schema = schema_of(type(item))
        varied = [schema.arguments[argument] for argument in arguments]
        kept = [name for name in schema.names if name not in varied]
        self._cls = type(item)
        self._names = (*kept, *varied)
        self._values = tuple([getattr(item, name) for name in kept])

    def make(self, *others: Any) -> AnyWireObject:
        """Return a copy with these values of the varying arguments, in the order of `__init__`."""
        return make(self._cls, self._names, self._values + others)


def with_wire(item: AnyWireObject, **members: Any) -> AnyWireObject:
    """Return a copy for which `to_dict` writes these values instead of its typed members."""
    return evolve(item, rest={**rest_of(item), **members})
