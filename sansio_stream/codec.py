"""Translation: one attrs class <-> one JSON object, derived from the class. Knows no vocabulary.

A class says once what it is made of, and reading, writing and checking follow from its annotations:

* a member without a default is always on the wire; one with the default None is left out if None;
* a growing `str` member reads as "" where the wire has none, every other member as None;
* a member of a `tuple[...]` or of another `WireObject` is decoded in turn, a union by its `type`;
* what the typed members cannot hold (unknown members, explicit nulls, missing ones, values of
  another type) is kept in one private slot, `_rest`, so that for every JSON object
  `decode(cls, payload).to_dict() == payload`.

`_rest` is the difference between the payload and what the typed members alone would write: wire
names to the values that stand there instead, or to `Absence.ABSENT`.
"""

# Annotations stay objects here and in the two vocabulary rooms: they are read at run time.

import enum
import functools
from collections.abc import Callable, Mapping
from types import NoneType
from typing import (
    Any,
    Final,
    ParamSpec,
    TypeGuard,
    TypeVar,
    cast,
    dataclass_transform,
    get_args,
    get_origin,
)

import attrs

__all__ = ["WireObject"]

AnyClass = TypeVar("AnyClass")
AnyWireObject = TypeVar("AnyWireObject", bound="WireObject")
P = ParamSpec("P")
R = TypeVar("R")


class Absence(enum.Enum):
    """What stands for "no such member", because None is JSON's null."""

    ABSENT = "absent"


ABSENT: Final = Absence.ABSENT

OFF_WIRE: Final[dict[str, Any]] = {"wire": None}
"""Metadata of a member that is never read from or written to the wire."""


def on_wire_as(name: str) -> dict[str, Any]:
    """Metadata of a member whose name on the wire is a keyword (`from`) or taken."""
    return {"wire": name}


@dataclass_transform(frozen_default=True, field_specifiers=(attrs.field,))
def wire_object(cls: type[AnyClass]) -> type[AnyClass]:
    """Make a class of the vocabulary: attrs, frozen, slotted, not hashable, with the repr below."""
    return attrs.frozen(cls, unsafe_hash=False, repr=False)


@wire_object
class WireObject:
    """What stands for one JSON object. Immutable; compared by value; not hashable."""

    _rest: Mapping[str, Any] | None = attrs.field(
        default=None, kw_only=True, alias="rest", metadata=OFF_WIRE
    )

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON object that this stands for: a new dict.

        What is nested deeper than the typed members is shared: treat it as read-only.
        """
        plan = plan_of(type(self))
        written: dict[str, Any] = {} if plan.tag is None else {"type": plan.tag}
        for member in plan.members:
            value = getattr(self, member.name)
            if value is not None or member.required:
                written[member.wire] = member.write(value)
        for name, value in rest_of(self).items():
            if value is ABSENT:
                written.pop(name, None)
            else:
                written[name] = value
        return written

    @property
    def extra(self) -> dict[str, Any]:
        """The members that have no name here, as they came. Treat their values as read-only."""
        known = plan_of(type(self)).wires
        return {name: value for name, value in rest_of(self).items() if name not in known}

    def __repr__(self) -> str:
        shown: list[str] = []
        for field in fields_of(type(self)):
            value = getattr(self, field.name)
            if field.name != "_rest" and field.repr and value != field.default:
                shown.append(f"{field.name}={value!r}")
        if self.extra:
            shown.append(f"extra={self.extra!r}")
        return f"{type(self).__name__}({', '.join(shown)})"


# What the fold and the vocabulary do with objects. Functions, not methods: they are no promise to
# users, for whom an object has its members, `extra` and `to_dict()`.


def amended(item: AnyWireObject, **changes: Any) -> AnyWireObject:
    """Return a copy with other members; what the wire had said in their place is forgotten."""
    rest = rest_of(item)
    forgotten = {each.wire for each in plan_of(type(item)).members if each.name in changes}
    kept = {name: value for name, value in rest.items() if name not in forgotten}
    return evolve(item, rest=kept or None, **changes)


def with_wire(item: AnyWireObject, **members: Any) -> AnyWireObject:
    """Return a copy that is written with these values, whatever its typed members are."""
    return evolve(item, rest={**rest_of(item), **members})


def misfits(item: WireObject, *names: str) -> bool:
    """Whether one of these typed members is not what the wire had: missing, null, another type."""
    rest = rest_of(item)
    if not rest:
        return False
    known = plan_of(type(item)).wires
    return any(name in rest and name in known for name in names)


def said_null(item: WireObject, name: str) -> bool:
    """Whether the wire had an explicit null for this member."""
    return item.to_dict().get(name, ABSENT) is None


def mistyped(item: WireObject) -> set[str]:
    """Return the names of the typed members for which the wire had a value of another type."""
    rest = rest_of(item)
    known = plan_of(type(item)).wires if rest else ()
    return {name for name in rest if name in known and rest[name] not in (None, ABSENT)}


def rest_of(item: Any) -> Mapping[str, Any]:
    """Return what the typed members cannot hold."""
    return item._rest or {}  # noqa: SLF001  (this room's own)


# What attrs and functools give, typed: the checkers see a dataclass_transform and do not know that
# it is attrs that makes the classes, nor that a class may be hashable whose instances are not.


def evolve(item: AnyWireObject, **changes: Any) -> AnyWireObject:
    """Return a copy with other values."""
    changed: AnyWireObject = attrs.evolve(cast("Any", item), **changes)
    return changed


def fields_of(cls: type[Any]) -> tuple["attrs.Attribute[Any]", ...]:
    """Return the attributes of a class, in order."""
    fields: tuple[attrs.Attribute[Any], ...] = attrs.fields(cls)
    return fields


def once(function: Callable[P, R]) -> Callable[P, R]:
    """Make a function that works once for each class it is given, and remembers."""
    return cast("Callable[P, R]", functools.cache(function))


# Deriving.


@attrs.frozen
class Member:
    """How one member is read and written.

    Attributes:
        name: of the attribute.
        wire: of the member of the JSON object.
        required: whether it is written even when it is None.
        absent: what the attribute is where the wire has nothing that fits.
        read: JSON value -> attribute, or ABSENT if the value does not fit.
        write: attribute -> JSON value.
    """

    name: str
    wire: str
    required: bool
    absent: Any
    read: Callable[[Any], Any]
    write: Callable[[Any], Any]


@attrs.frozen
class Plan:
    """What is derived from one class: its `type` on the wire, its members, the names it knows."""

    tag: str | None
    members: tuple[Member, ...]
    wires: frozenset[str]


@once
def plan_of(cls: type[Any]) -> Plan:
    """Derive the plan of a class, once."""
    members = tuple(
        member_of(field)
        for field in fields_of(cls)
        if field.metadata.get("wire", field.name) is not None
    )
    names = {member.name for member in members}
    tag = None if "type" in names else getattr(cls, "type", None)
    if tag == "unknown":
        tag = None
    wires = frozenset(member.wire for member in members)
    return Plan(tag, members, wires if tag is None else wires | {"type"})


def member_of(field: "attrs.Attribute[Any]") -> Member:
    """Derive a member from its annotation."""
    choices = tuple(choice for choice in union_members(field.type) if choice is not NoneType)
    may_be_none = choices != union_members(field.type)
    return Member(
        name=field.name,
        wire=field.metadata.get("wire", field.name),
        required=field.default is attrs.NOTHING,
        absent=None if may_be_none or field.type is Any else absent_value(choices[0]),
        read=reader(choices),
        write=writer(choices),
    )


def union_members(annotation: Any) -> tuple[Any, ...]:
    """Return the members of a union, or the annotation alone."""
    if get_origin(annotation) in (None, dict, list, tuple):
        return (annotation,)
    return get_args(annotation)


def is_wire_class(annotation: Any) -> bool:
    """Whether the annotation is a class that stands for a JSON object."""
    return isinstance(annotation, type) and issubclass(annotation, WireObject)


def is_object(value: Any) -> TypeGuard[dict[str, Any]]:
    """Whether a JSON value is an object."""
    return isinstance(value, dict)


def is_array_of_objects(value: Any) -> TypeGuard[list[dict[str, Any]]]:
    """Whether a JSON value is an array that holds nothing but objects."""
    return is_array(value) and all(map(is_object, value))


def is_array(value: Any) -> TypeGuard[list[Any]]:
    """Whether a JSON value is an array."""
    return isinstance(value, list)


def absent_value(annotation: Any) -> Any:
    """Return what a member that is never None reads as where the wire has nothing."""
    return (
        decode(annotation, {})
        if is_wire_class(annotation)
        else (get_origin(annotation) or annotation)()
    )


def reader(choices: tuple[Any, ...]) -> Callable[[Any], Any]:
    """Derive the function that reads a JSON value, or returns ABSENT."""
    only = choices[0]
    if only is Any:
        return lambda value: value
    if len(choices) > 1 or is_wire_class(only):
        decode_one = decoder(choices)
        return lambda value: decode_one(value) if is_object(value) else ABSENT
    if get_origin(only) is tuple:
        decode_item = decoder(union_members(get_args(only)[0]))
        return lambda value: (
            tuple(map(decode_item, value)) if is_array_of_objects(value) else ABSENT
        )
    kind = get_origin(only) or only
    # In JSON true is no number, in Python it is.
    other = bool if kind is int else ()
    return lambda value: (
        value if isinstance(value, kind) and not isinstance(value, other) else ABSENT
    )


def writer(choices: tuple[Any, ...]) -> Callable[[Any], Any]:
    """Derive the function that writes a member."""
    if get_origin(choices[0]) is tuple:
        return lambda value: None if value is None else [item.to_dict() for item in value]
    if is_wire_class(choices[0]):
        return lambda value: None if value is None else value.to_dict()
    return lambda value: value


def decoder(choices: tuple[Any, ...]) -> Callable[[Mapping[str, Any]], Any]:
    """Derive the function that decodes a JSON object as one of several classes, by its `type`."""
    if len(choices) == 1:
        return functools.partial(decode, choices[0])
    by_tag = {cls.type: cls for cls in choices}
    unknown = by_tag.pop("unknown")

    def decode_by_type(payload: Mapping[str, Any]) -> Any:
        tag = payload.get("type")
        return decode(by_tag.get(tag, unknown) if isinstance(tag, str) else unknown, payload)

    return decode_by_type


# Decoding.


def decode(cls: type[AnyWireObject], payload: Mapping[str, Any]) -> AnyWireObject:
    """Return the object that stands for `payload`, whatever it holds: it never raises.

    The values of untyped members are shared with the payload.
    """
    plan = plan_of(cls)
    values: list[Any] = []
    rest: dict[str, Any] = {}
    if plan.tag is not None:
        tag = payload.get("type", ABSENT)
        if tag != plan.tag:
            rest["type"] = tag
    for member in plan.members:
        raw = payload.get(member.wire, ABSENT)
        value = ABSENT if raw is ABSENT or raw is None else member.read(raw)
        if value is not ABSENT:
            values.append(value)
            continue
        values.append(member.absent)
        # What is written for the absent value: a text or an object, null, or nothing.
        as_written = member.absent if member.required else ABSENT
        if raw is not as_written:
            rest[member.wire] = raw
    if not payload.keys() <= plan.wires:
        rest.update((name, value) for name, value in payload.items() if name not in plan.wires)
    return cls(*values, rest=rest or None)
