"""Frozen classes: shared methods, a fast way to make objects, members computed at a read."""

from __future__ import annotations

import functools
import sys
from itertools import repeat
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, TypeVar

import attrs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

AnyClass = TypeVar("AnyClass")

CLASS_CHANGES_ARE_CHEAP: Final[bool] = getattr(sys, "_is_gil_enabled", lambda: True)()
"""Whether an object is first made as an object of another class, the twin; see `make_twin`. This is
false without the GIL, because CPython may then stop all threads to assign a `__class__`.
"""


class Value:  # noqa: PLW1641  (`HashableValue` has the hash)
    """A base class of attrs classes: compared and shown by their attributes, not hashable.

    Such a class is made with the options `eq=False, repr=False`. Without these options attrs would
    generate the methods for each class. Making a class takes 2.8 million instructions with the
    generated methods, and 1.6 million of them are for these methods. Each attribute adds more.
    """

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        if other.__class__ is not self.__class__:
            return NotImplemented
        cls: Any = self.__class__
        compared = compared_of(cls)
        return compared(self) == compared(other)

    def __repr__(self) -> str:
        cls: Any = self.__class__
        shown: list[str] = []
        for field in attrs.fields(cls):
            if field.repr:
                show = field.repr if callable(field.repr) else repr
                shown.append(f"{field.name}={show(getattr(self, field.name))}")
        return f"{cls.__qualname__}({', '.join(shown)})"


class HashableValue(Value):
    """A base class of frozen attrs classes whose attributes are hashable; see `Value`."""

    __slots__ = ()

    def __hash__(self) -> int:
        cls: Any = self.__class__
        return hash((cls, hashed_of(cls)(self)))


@functools.cache
def compared_of(cls: type[Any]) -> Callable[[object], object]:
    """Return a function from an object of an attrs class to the values by which it is compared."""
    return attrgetter(*(field.name for field in attrs.fields(cls) if field.eq))


@functools.cache
def hashed_of(cls: type[Any]) -> Callable[[object], object]:
    """Return a function from an object of an attrs class to the values that its hash depends on."""
    fields = attrs.fields(cls)
    return attrgetter(*(each.name for each in fields if each.eq and each.hash in (None, True)))


class WeaklyReferable(HashableValue):
    """A base class that allows weak references to the objects of a class with a twin.

    `make_twin` changes the `__class__` of an object. CPython refuses this if the same class adds
    both its members and the slot `__weakref__`. So this base class adds `__weakref__`. `WireObject`
    is such a base class, too.
    """

    __slots__ = ("__weakref__",)


class Twins(dict[type[Any], Any]):
    """The twin of each class, see `make_twin`. A twin is made at its first lookup."""

    def __missing__(self, cls: type[Any]) -> Any:
        twin = self[cls] = make_twin(cls)
        return twin


def make_twin(cls: type[Any]) -> Any:
    """Return the twin of a frozen class: it has the same slots, and its objects can be changed.

    Plain assignments fill an object of the twin. Then its `__class__` is set to the frozen class.
    No other code may have the object before that.

    Strategy: the `__init__` that attrs generates for a frozen class calls `object.__setattr__` for
    each member. Making a delta and its event takes 5,784 instructions that way, and 3,166 with
    twins (CPython 3.11). Without the `__delattr__` below, CPython would not specialise the
    assignments, and making the two objects would take 9,911 instructions.
    """
    members = {
        "__slots__": vars(cls)["__slots__"],
        "__init__": object.__init__,
        "__setattr__": object.__setattr__,
        "__delattr__": object.__delattr__,
    }
    return type(f"Unfinished{cls.__name__}", cls.__bases__, members)


twin_of: Final = Twins().__getitem__


def new_unfinished(cls: type[Any]) -> Any:
    """Return a new object of the twin of a class. Fill it, and then set its `__class__`."""
    return twin_of(cls)()


def name_member(cls: type[Any], name: str, second_name: str) -> None:
    """Give a member of a class with slots a second name."""
    setattr(cls, second_name, vars(cls)[name])


def make(cls: type[AnyClass], names: Iterable[str], values: Iterable[Any]) -> AnyClass:
    """Return an object of a frozen class with these values of these attributes.

    Args:
        cls: the class.
        names: the names of all its attributes.
        values: their values, in the same order.
    """
    # `any` is a loop in C. It does not stop early, because the functions return None.
    if not CLASS_CHANGES_ARE_CHEAP:
        item = object.__new__(cls)
        any(map(object.__setattr__.__get__(item), names, values))
        return item
    made = new_unfinished(cls)
    any(map(setattr, repeat(made), names, values))
    made.__class__ = cls
    finished: AnyClass = made
    return finished


def lazy_member(
    cls: type[Any], name: str, read: Callable[[Any, Any], Any], doc: str
) -> Callable[[Any, Any], None]:
    """Turn a member of a class into a computed one.

    The slot of the member stores what the value is computed from, and each read computes the value.
    Type checkers and attrs see no difference, because they use the annotation in the body of the
    class.

    Args:
        cls: the class.
        name: the name of the member.
        read: a function that returns the value, given the object and the content of its slot.
        doc: the docstring of the member.

    Returns:
        A function that sets the slot of an object.
    """
    slot = getattr(cls, name)
    get, fill = slot.__get__, slot.__set__
    setattr(cls, name, property(lambda item: read(item, get(item)), fill, slot.__delete__, doc))
    set_slot: Callable[[Any, Any], None] = fill
    return set_slot
