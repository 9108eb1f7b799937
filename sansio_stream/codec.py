"""Translation between one attrs class and one JSON object.

A class declares its members once. Reading, writing and checking are derived from the annotations.
The vocabulary is the classes of `citations`, `deltas`, `usage`, `message` and `events`. This module
knows none of them. The rules are:

* A member without a default is always written. A member with the default None is left out if its
  value is None.
* If the JSON object has no value for a member, the member reads as None where its type allows None.
  Otherwise it reads as the empty value of its type, for example as "".
* A member whose type is a `WireObject`, or a tuple of them, is decoded recursively. If the type is
  a union of such classes, the `type` of the JSON object chooses the class.
* Everything that the typed members cannot represent is kept in one private attribute, `_rest`:
  unknown members, explicit nulls, missing members, values of another type. Therefore
  `decode(cls, payload).to_dict() == payload` holds for every JSON object.

`_rest` is the difference between the payload and the object that the typed members alone would
write. It maps a member's name in JSON to its value in the payload, or to `Absence.ABSENT` if the
payload does not have that member.
"""

# This module and the modules of the vocabulary do not import `annotations` from `__future__`,
# because the annotations are read at run time and must be objects.

import enum
import functools
from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter, itemgetter
from types import NoneType
from typing import (
    Any,
    Final,
    TypeGuard,
    TypeVar,
    dataclass_transform,
    get_args,
    get_origin,
)

import attrs

from .frozen import make

__all__ = ["WireObject"]

AnyClass = TypeVar("AnyClass")
AnyWireObject = TypeVar("AnyWireObject", bound="WireObject")


class Absence(enum.Enum):
    """Marks a missing member. None cannot mark it, because None stands for null."""

    ABSENT = "absent"


ABSENT: Final = Absence.ABSENT

OFF_WIRE: Final[dict[str, Any]] = {"wire": None}
"""Metadata of a member that is never read from the wire and never written to it."""


def on_wire_as(name: str) -> dict[str, Any]:
    """Return the metadata of a member whose attribute must have another name than on the wire.

    That is the case if the name on the wire is a Python keyword (`from`) or is already in use.
    """
    return {"wire": name}


@dataclass_transform(frozen_default=True, field_specifiers=(attrs.field,))
def wire_object(cls: type[AnyClass]) -> type[AnyClass]:
    """Make an attrs class of the vocabulary: frozen, slotted and not hashable.

    It inherits its comparison and its repr from `WireObject`.
    """
    # One inherited `__eq__` is enough: generating one per class took a tenth of the import time.
    return attrs.frozen(cls, eq=False, unsafe_hash=False, repr=False)


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(attrs.field,))
def wire_base(cls: type[AnyClass]) -> type[AnyClass]:
    """Make a base class of the vocabulary, whose members are keyword-only arguments.

    attrs puts the positional arguments of a base class before those of a derived class. With this,
    a derived class has its own arguments first, and its own members first on the wire.
    """
    return attrs.frozen(cls, eq=False, unsafe_hash=False, repr=False, kw_only=True)


@wire_object
class WireObject:  # noqa: PLW1641  (no `__hash__`: the values inside cannot be hashed)
    """A Python value for one JSON object. It is immutable, compared by value and not hashable."""

    _rest: Mapping[str, Any] | None = attrs.field(
        default=None, kw_only=True, alias="rest", metadata=OFF_WIRE
    )

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON object that this value stands for, as a new dict.

        Containers inside the values of typed members are shared with this object. Treat them as
        read-only.
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
        """The members that this class does not know, unchanged. Treat their values as read-only."""
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


# What other modules ask about an object. These are functions, not methods, because they are not
# part of the public interface. Users of an object have its members, `extra` and `to_dict()`.


inexact_part: Final = attrgetter("_rest")
"""Return what the typed members cannot represent; None if they represent all that the wire had."""


def has_invalid(item: WireObject, *names: str) -> bool:
    """Whether one of these members is in `_rest`: missing, null or of another type on the wire."""
    rest = rest_of(item)
    if not rest:
        return False
    known = schema_of(type(item)).wires
    return any(name in rest and name in known for name in names)


def said_null(item: WireObject, name: str) -> bool:
    """Whether the wire had an explicit null for this member."""
    return item.to_dict().get(name, ABSENT) is None


def wrong_types(item: WireObject) -> set[str]:
    """Return the wire names of the members for which the wire had a value of another type."""
    rest = rest_of(item)
    known = schema_of(type(item)).wires if rest else ()
    return {name for name in rest if name in known and rest[name] not in (None, ABSENT)}


def rest_of(item: Any) -> Mapping[str, Any]:
    """Return what the typed members cannot represent."""
    return item._rest or {}  # noqa: SLF001


# A typed form of `attrs.fields`. Type checkers see only a dataclass_transform, so they do not know
# that the classes are attrs classes.


def fields_of(cls: type[Any]) -> tuple["attrs.Attribute[Any]", ...]:
    """Return the attributes of a class in the order of its arguments: keyword-only ones last."""
    fields: tuple[attrs.Attribute[Any], ...] = attrs.fields(cls)
    return tuple(sorted(fields, key=lambda field: field.kw_only))


# Deriving the schema of a class.


class Member:
    """How one member is read and written, derived from its annotation.

    Attributes:
        name: the name of the attribute.
        wire: the name of the member in the JSON object.
        kind: a type, if every value of exactly this type fits; else None. Most values have this
            type, so `fits` is not called for them.
        fits: a function that tells whether a JSON value other than null fits.
        translate: a function that turns a JSON value that fits into the value of the attribute;
            None if the two are the same.
        required: whether the member is written even if it is None.
        absent: the value of the attribute if the wire has no value that fits.
        as_written: what the typed member alone would write for `absent`: a JSON value, or ABSENT if
            it would write nothing.
        write: a function that turns the value of the attribute into a JSON value.
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
    """Everything that is derived from one class.

    Attributes:
        tag: the `type` of the class on the wire; None if the class has no fixed type.
        members: the members on the wire, in the order of the arguments.
        by_wire: the members by their names on the wire.
        wires: the names on the wire that the class knows.
        required: the names on the wire of the required members, after `type` if there is a tag.
        names: the names of all attributes.
        places: the index of each attribute in `names`.
        defaults: the value of each attribute, in the order of `names`, if the wire has no value.
        arguments: the attribute that each constructor argument sets.
        values: a function that returns the values of all attributes of an object.
        compared: a function that returns the values by which an object is compared.
        usual: the short way to read an object with the required members only; None if the class
            has none.
    """

    __slots__ = (
        "arguments",
        "by_wire",
        "compared",
        "defaults",
        "members",
        "names",
        "places",
        "required",
        "tag",
        "usual",
        "values",
        "wires",
    )

    def __init__(self, cls: type[Any]) -> None:
        fields = fields_of(cls)
        on_wire = [field for field in fields if field.metadata.get("wire", field.name) is not None]
        self.members = tuple(map(Member, on_wire))
        self.by_wire = {member.wire: member for member in self.members}
        self.names = names = tuple(field.name for field in fields)
        self.places = {name: place for place, name in enumerate(names)}
        tag = None if "type" in names else getattr(cls, "type", None)
        self.tag: str | None = None if tag == "unknown" else tag
        wires = frozenset(self.by_wire)
        self.wires = wires if self.tag is None else wires | {"type"}
        tags = [] if self.tag is None else ["type"]
        self.required = (*tags, *(member.wire for member in self.members if member.required))
        absent = {member.name: member.absent for member in self.members}
        self.defaults = [absent.get(field.name, field.default) for field in fields]
        self.arguments = {field.alias or field.name: field.name for field in fields}
        self.values: Callable[[Any], tuple[Any, ...]] = (
            attrgetter(*names) if len(names) > 1 else lambda item: (getattr(item, *names),)
        )
        self.compared: Callable[[Any], object] = attrgetter(
            *(field.name for field in fields if field.eq)
        )
        self.usual = UsualObject.of(self)


class UsualObject:
    """How an object is read that has a type and the required members, and no others.

    Nearly all deltas and most blocks are such objects. Reading them takes half the instructions
    that `decode` takes for others.

    Attributes:
        pick: a function that returns the type and the required members of a payload as a tuple.
        kinds: the types of the values in this tuple.
        translators: the required members that must be translated: for each its index among the
            required members and its `translate`.
        names: the names of the required members, then those of all other attributes.
        others: the values of these other attributes.
    """

    __slots__ = ("kinds", "names", "others", "pick", "translators")

    def __init__(self, schema: ClassSchema, members: Sequence[Member]) -> None:
        self.pick: Callable[[Mapping[str, Any]], tuple[Any, ...]] = itemgetter(*schema.required)
        self.kinds = [str, *(member.kind for member in members)]
        self.translators = [
            (place, member.translate)
            for place, member in enumerate(members)
            if member.translate is not None
        ]
        required = [member.name for member in members]
        others = [name for name in schema.names if name not in required]
        self.names = (*required, *others)
        self.others = [schema.defaults[schema.places[name]] for name in others]

    @classmethod
    def of(cls, schema: ClassSchema) -> "UsualObject | None":
        """Return the short way, or None. It needs a tag, and required members with a `kind`."""
        members = [member for member in schema.members if member.required]
        is_simple = members and all(member.kind is not None for member in members)
        return cls(schema, members) if schema.tag is not None and is_simple else None


class ClassSchemas(dict[type[Any], ClassSchema]):
    """The schema of each class. A schema is derived at its first lookup."""

    def __missing__(self, cls: type[Any]) -> ClassSchema:
        schema = self[cls] = ClassSchema(cls)
        return schema


schema_of: Final = ClassSchemas().__getitem__


def union_members(annotation: Any) -> tuple[Any, ...]:
    """Return the types in a union. For any other annotation, return the annotation alone."""
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
    """Whether a JSON value is an array of nothing but objects."""
    return is_array(value) and all(map(is_object, value))


def is_array(value: Any) -> TypeGuard[list[Any]]:
    """Whether a JSON value is an array."""
    return isinstance(value, list)


def absent_value(annotation: Any) -> Any:
    """Return the value of a member without a value on the wire, if the member cannot be None."""
    return (
        decode(annotation, {})
        if is_wire_class(annotation)
        else (get_origin(annotation) or annotation)()
    )


def reader(
    choices: tuple[Any, ...],
) -> tuple[type | None, Callable[[Any], bool], Callable[[Any], Any] | None]:
    """Derive how a member is read: its `kind`, `fits` and `translate`."""
    only = choices[0]
    if only is Any:
        return None, lambda _: True, None
    if len(choices) > 1 or is_wire_class(only):
        return dict, is_object, decoder(choices)
    if get_origin(only) is tuple:
        decode_item = decoder(union_members(get_args(only)[0]))
        return None, is_array_of_objects, lambda value: tuple(map(decode_item, value))
    kind = get_origin(only) or only
    # In Python, True is an int. In JSON, true is not a number.
    other = bool if kind is int else ()
    return kind, lambda value: isinstance(value, kind) and not isinstance(value, other), None


def writer(choices: tuple[Any, ...]) -> Callable[[Any], Any]:
    """Derive how a member is written: its `write`."""
    if get_origin(choices[0]) is tuple:
        return lambda value: None if value is None else [item.to_dict() for item in value]
    if is_wire_class(choices[0]):
        return lambda value: None if value is None else value.to_dict()
    return lambda value: value


def decoder(choices: tuple[Any, ...]) -> Callable[[Mapping[str, Any]], Any]:
    """Derive a function that decodes a JSON object as one of these classes, chosen by `type`."""
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
    """Return the object that stands for `payload`. Never raises, whatever the payload contains.

    Containers that are not decoded are shared with the payload.
    """
    schema = schema_of(cls)
    usual = schema.usual
    if usual is not None and len(payload) == len(usual.kinds) and payload.__class__ is dict:
        try:
            tag, *values = picked = usual.pick(payload)
        except KeyError:
            pass
        else:
            if tag == schema.tag and [*map(type, picked)] == usual.kinds:
                for place, translate in usual.translators:
                    values[place] = translate(values[place])
                return make(cls, usual.names, values + usual.others)
    values = schema.defaults.copy()
    rest: dict[str, Any] = {}
    for wire, raw in payload.items():
        member = schema.by_wire.get(wire)
        if member is None:
            if wire != "type" or schema.tag is None or raw != schema.tag:
                rest[wire] = raw
        elif type(raw) is member.kind or (raw is not None and member.fits(raw)):
            value = raw if member.translate is None else member.translate(raw)
            values[schema.places[member.name]] = value
        elif raw is not member.as_written:
            rest[wire] = raw
    for wire in schema.required:
        if wire not in payload:
            rest[wire] = ABSENT
    if rest:
        values[schema.places["_rest"]] = LACKS_TYPE if rest == LACKS_TYPE else rest
    return make(cls, schema.names, values)


LACKS_TYPE: Final[Mapping[str, Any]] = {"type": ABSENT}
"""The `_rest` of every object that lacks only its type. It can be shared because nothing changes
it. It is shared because a peer may send `{}` twenty million times: a separate dict would take 184
bytes for each object, in addition to the 160 bytes of the object.
"""
