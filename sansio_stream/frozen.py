"""Frozen classes: a fast way to make objects, and members that are computed when they are read."""

from __future__ import annotations

import sys
from itertools import repeat
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

AnyClass = TypeVar("AnyClass")

CLASS_CHANGES_ARE_CHEAP: Final[bool] = getattr(sys, "_is_gil_enabled", lambda: True)()
"""Whether objects are made by way of twins, see `make_twin`. Without the GIL, CPython may stop all
threads to assign a `__class__`.
"""


class WeaklyReferable:
    """A base class that allows weak references to the objects of a class with a twin.

    The `__class__` of a twin's object is changed, see `make_twin`. CPython refuses that if one
    class adds both members and the place for weak references. So a base class adds the place.
    `WireObject` is such a base class, too.
    """

    __slots__ = ("__weakref__",)


class Twins(dict[type[Any], Any]):
    """The twin of each class, see `make_twin`. A twin is made at its first lookup."""

    def __missing__(self, cls: type[Any]) -> Any:
        twin = self[cls] = make_twin(cls)
        return twin


def make_twin(cls: type[Any]) -> Any:
    """Return a class with the same slots as a frozen class, whose objects can be written to.

    An object of the twin is filled by plain assignments. Then its `__class__` is set to the frozen
    class. No other code may have the object before that.

    Strategy: the `__init__` that attrs generates for a frozen class calls `object.__setattr__` for
    each member. Making a delta and its event takes 5,784 instructions that way, and 3,166 by way of
    twins (CPython 3.11). Without the `__delattr__` below, CPython would not specialise the
    assignments, and making the two objects would take 9,911.
    """
    members = {
        "__slots__": vars(cls)["__slots__"],
        "__init__": object.__init__,
        "__setattr__": object.__setattr__,
        "__delattr__": object.__delattr__,
    }
    return type(f"Unfinished{cls.__name__}", cls.__bases__, members)


twin_of: Final = Twins().__getitem__


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
    made: Any = twin_of(cls)()
    any(map(setattr, repeat(made), names, values))
    made.__class__ = cls
    finished: AnyClass = made
    return finished


def lazy_member(
    cls: type[Any], name: str, read: Callable[[Any, Any], Any], doc: str
) -> Callable[[Any, Any], None]:
    """Let the slot of a member hold a substitute. A read of the member computes the value.

    Type checkers and attrs see no difference: they use the annotation in the body of the class.

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
