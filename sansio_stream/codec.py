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

# Annotations stay objects here and in the modules of the vocabulary: they are read at run time.

import enum
import functools
from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from types import NoneType
from typing import (
    Any,
    Final,
    Generic,
    TypeGuard,
    TypeVar,
    dataclass_transform,
    get_args,
    get_origin,
)

import attrs

__all__ = ["WireObject"]

AnyClass = TypeVar("AnyClass")
AnyWireObject = TypeVar("AnyWireObject", bound="WireObject")


class Absence(enum.Enum):
    """What stands for "no such member", because None is JSON's null."""

    ABSENT = "absent"


ABSENT: Final = Absence.ABSENT

set_on: Final = object.__setattr__.__get__
"""An object in, what sets its attributes out, frozen or not: as attrs' own `__init__` does it."""

OFF_WIRE: Final[dict[str, Any]] = {"wire": None}
"""Metadata of a member that is never read from or written to the wire."""


def on_wire_as(name: str) -> dict[str, Any]:
    """Metadata of a member whose name on the wire is a keyword (`from`) or taken."""
    return {"wire": name}


@dataclass_transform(frozen_default=True, field_specifiers=(attrs.field,))
def wire_object(cls: type[AnyClass]) -> type[AnyClass]:
    """Make a class of the vocabulary: attrs, frozen, slotted, not hashable, compared as below."""
    # WireObject compares for all: an `__eq__` generated for each class took a tenth of the import.
    return attrs.frozen(cls, eq=False, unsafe_hash=False, repr=False)


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(attrs.field,))
def wire_base(cls: type[AnyClass]) -> type[AnyClass]:
    """Make a base class of the vocabulary, whose members are keyword-only arguments.

    attrs puts the positional arguments of a base class before those of a derived class. With this,
    a derived class has its own arguments first, and its own members first on the wire.
    """
    return attrs.frozen(cls, eq=False, unsafe_hash=False, repr=False, kw_only=True)


@wire_object
class WireObject:  # noqa: PLW1641  (no `__hash__`: what is inside cannot be hashed either)
    """What stands for one JSON object. Immutable; compared by value; not hashable."""

    _rest: Mapping[str, Any] | None = attrs.field(
        default=None, kw_only=True, alias="rest", metadata=OFF_WIRE
    )

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON object that this stands for: a new dict.

        What is nested deeper than the typed members is shared: treat it as read-only.
        """
        schema = schema_of(type(self))
        written: dict[str, Any] = {} if schema.tag is None else {"type": schema.tag}
        for member in schema.members:
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
        known = schema_of(type(self)).wires
        return {name: value for name, value in rest_of(self).items() if name not in known}

    def __eq__(self, other: object) -> bool:
        if other.__class__ is not self.__class__:
            return NotImplemented
        compared = schema_of(self.__class__).compared
        return compared(self) == compared(other)

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


def evolve(item: AnyWireObject, **changes: Any) -> AnyWireObject:
    """Return a copy with other values."""
    return changed(item, changes)


def copy_with(item: AnyWireObject, **changes: Any) -> AnyWireObject:
    """Return a copy with other members; what the wire had said in their place is forgotten."""
    rest = rest_of(item)
    if rest:
        members = schema_of(type(item)).members
        forgotten = {each.wire for each in members if each.name in changes and each.wire in rest}
        # A peer may send a million members, and this is asked for each look: where nothing is
        # forgotten, nothing is copied.
        if forgotten:
            changes["rest"] = {key: rest[key] for key in rest if key not in forgotten} or None
    return changed(item, changes)


def changed(item: AnyWireObject, changes: Mapping[str, Any]) -> AnyWireObject:
    """Return a copy with other values, in half the time of `attrs.evolve`."""
    schema = schema_of(type(item))
    copied = object.__new__(type(item))
    fill = set_on(copied)
    any(
        map(fill, schema.names, schema.values(item))
    )  # a loop in C: what `fill` returns is never true
    for argument, value in changes.items():
        fill(schema.arguments[argument], value)
    return copied


class CopyTemplate(Generic[AnyWireObject]):
    """Makes copies of an object in which nothing but some arguments differs: for what is copied
    often. `changed` finds out each time what this knows.
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
        """Return a copy with these values for the arguments."""
        copied = object.__new__(self._cls)
        any(map(set_on(copied), self._names, self._values + others))  # as in `changed`
        return copied


def with_wire(item: AnyWireObject, **members: Any) -> AnyWireObject:
    """Return a copy that is written with these values, whatever its typed members are."""
    return evolve(item, rest={**rest_of(item), **members})


def is_exact(item: Any) -> bool:
    """Whether the typed members alone say all that the wire had."""
    return item._rest is None  # noqa: SLF001  (this module's own)


def has_invalid(item: WireObject, *names: str) -> bool:
    """Whether one of these typed members is not what the wire had: missing, null, another type."""
    rest = rest_of(item)
    if not rest:
        return False
    known = schema_of(type(item)).wires
    return any(name in rest and name in known for name in names)


def said_null(item: WireObject, name: str) -> bool:
    """Whether the wire had an explicit null for this member."""
    return item.to_dict().get(name, ABSENT) is None


def wrong_types(item: WireObject) -> set[str]:
    """Return the names of the typed members for which the wire had a value of another type."""
    rest = rest_of(item)
    known = schema_of(type(item)).wires if rest else ()
    return {name for name in rest if name in known and rest[name] not in (None, ABSENT)}


def rest_of(item: Any) -> Mapping[str, Any]:
    """Return what the typed members cannot hold."""
    return item._rest or {}  # noqa: SLF001


# What attrs gives, typed: the checkers see a dataclass_transform and do not know that it is attrs
# that makes the classes.


def fields_of(cls: type[Any]) -> tuple["attrs.Attribute[Any]", ...]:
    """Return the attributes of a class, in the order of its arguments: keyword-only ones last."""
    fields: tuple[attrs.Attribute[Any], ...] = attrs.fields(cls)
    return tuple(sorted(fields, key=lambda field: field.kw_only))


# Deriving.


class Member:
    """How one member is read and written, derived from its annotation.

    Attributes:
        name: of the attribute.
        wire: of the member of the JSON object.
        kind: a type of which all values fit, so that most need no more than a look at their type;
            None where there is no such type.
        fits: whether a JSON value fits that is not null.
        translate: JSON value that fits -> attribute; None where they are the same.
        required: whether it is written even when it is None.
        absent: what the attribute is where the wire has nothing that fits.
        as_written: what is written for that: a JSON value, or ABSENT for nothing.
        write: attribute -> JSON value.
    """

    __slots__ = (
        "absent",
        "as_written",
        "fits",
        "kind",
        "name",
        "required",
        "translate",
        "wire",
        "write",
    )

    def __init__(self, field: "attrs.Attribute[Any]") -> None:
        choices = tuple(choice for choice in union_members(field.type) if choice is not NoneType)
        may_be_none = choices != union_members(field.type)
        self.name = field.name
        self.wire: str = field.metadata.get("wire", field.name)
        self.kind, self.fits, self.translate = reader(choices)
        self.required = field.default is attrs.NOTHING
        self.absent = None if may_be_none or field.type is Any else absent_value(choices[0])
        self.as_written = self.absent if self.required else ABSENT
        self.write = writer(choices)


class ClassSchema:
    """What is derived from one class.

    Attributes:
        tag: its `type` on the wire, if it has one.
        members: what is on the wire, in the order of the arguments.
        make: the values of the members, in that order, -> an object; `rest` by keyword.
        wires: the names it knows.
        names: all attributes.
        arguments: the attribute that an argument sets.
        values: object -> the values of all attributes.
        compared: object -> the values that make it equal to another one.
    """

    __slots__ = ("arguments", "compared", "make", "members", "names", "tag", "values", "wires")

    def __init__(self, cls: type[Any]) -> None:
        fields = fields_of(cls)
        on_wire = [field for field in fields if field.metadata.get("wire", field.name) is not None]
        self.members = tuple(map(Member, on_wire))
        self.make = maker(cls, [field.name for field in on_wire if field.kw_only])
        self.names = names = tuple(field.name for field in fields)
        tag = None if "type" in names else getattr(cls, "type", None)
        self.tag: str | None = None if tag == "unknown" else tag
        wires = frozenset(member.wire for member in self.members)
        self.wires = wires if self.tag is None else wires | {"type"}
        self.arguments = {field.alias or field.name: field.name for field in fields}
        self.values: Callable[[Any], tuple[Any, ...]] = (
            attrgetter(*names) if len(names) > 1 else lambda item: (getattr(item, *names),)
        )
        self.compared: Callable[[Any], object] = attrgetter(
            *(field.name for field in fields if field.eq)
        )


class ClassSchemas(dict[type[Any], ClassSchema]):
    """The schema of each class, derived when it is first asked for."""

    def __missing__(self, cls: type[Any]) -> ClassSchema:
        schema = self[cls] = ClassSchema(cls)
        return schema


schema_of: Final = ClassSchemas().__getitem__


def maker(cls: type[AnyClass], keywords: Sequence[str]) -> Callable[..., AnyClass]:
    """Derive what makes an object of its members: the last ones are arguments by keyword."""
    if not keywords:
        return cls

    def make(*values: Any, **rest: Any) -> AnyClass:
        named = zip(keywords, values[-len(keywords) :], strict=True)
        return cls(*values[: -len(keywords)], **dict(named), **rest)

    return make


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


def reader(
    choices: tuple[Any, ...],
) -> tuple[type | None, Callable[[Any], bool], Callable[[Any], Any] | None]:
    """Derive how a JSON value is read: `kind`, `fits` and `translate` of a member."""
    only = choices[0]
    if only is Any:
        return None, lambda _: True, None
    if len(choices) > 1 or is_wire_class(only):
        return dict, is_object, decoder(choices)
    if get_origin(only) is tuple:
        decode_item = decoder(union_members(get_args(only)[0]))
        return None, is_array_of_objects, lambda value: tuple(map(decode_item, value))
    kind = get_origin(only) or only
    # In JSON true is no number, in Python it is.
    other = bool if kind is int else ()
    return kind, lambda value: isinstance(value, kind) and not isinstance(value, other), None


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
    schema = schema_of(cls)
    values: list[Any] = []
    rest: dict[str, Any] = {}
    found = len(schema.wires)  # how many members of the payload have a name here
    if schema.tag is not None:
        tag = payload.get("type", ABSENT)
        if tag != schema.tag:
            rest["type"] = tag
            if tag is ABSENT:
                found -= 1
    for member in schema.members:
        raw = payload.get(member.wire, ABSENT)
        if type(raw) is member.kind or (raw is not ABSENT and raw is not None and member.fits(raw)):
            values.append(raw if member.translate is None else member.translate(raw))
            continue
        values.append(member.absent)
        if raw is not member.as_written:
            rest[member.wire] = raw
        if raw is ABSENT:
            found -= 1
    if len(payload) > found:
        rest.update((name, value) for name, value in payload.items() if name not in schema.wires)
    made: AnyWireObject = (
        schema.make(*values, rest=LACKS_TYPE if rest == LACKS_TYPE else rest)
        if rest
        else schema.make(*values)
    )
    return made


LACKS_TYPE: Final[Mapping[str, Any]] = {"type": ABSENT}
"""Shared, as nothing changes what `_rest` holds: a peer may send `{}` twenty million times, and a
dict of its own would take 184 bytes for each, beside the 160 that it takes anyway.
"""
