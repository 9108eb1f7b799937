"""Objects of frozen classes: making them fast, and members whose value is made when it is read."""

from __future__ import annotations

import functools
import sys
from itertools import repeat
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

AnyClass = TypeVar("AnyClass")

CLASS_CHANGES_ARE_CHEAP: Final[bool] = getattr(sys, "_is_gil_enabled", lambda: True)()
"""Whether objects are made by way of `twin_of`. Without the GIL, CPython may stop all threads to
assign a `__class__`.
"""


@functools.cache
def twin_of(cls: type[Any]) -> Any:
    """Return a class with the same slots as a frozen class, whose objects can be written to.

    An object of the twin is filled by plain assignments. Then its `__class__` is set to the frozen
    class. No other code may have the object before.

    Strategy: the `__init__` that attrs generates for a frozen class calls `object.__setattr__` for
    each member. Making a delta and its event takes 5,784 instructions that way, and 3,166 by way of
    twins (CPython 3.11). Without the `__delattr__` below CPython would not specialise the
    assignments, and they would take 9,911.
    """
    members = {
        "__slots__": [name for name in vars(cls)["__slots__"] if name != "__weakref__"],
        "__init__": object.__init__,
        "__setattr__": object.__setattr__,
        "__delattr__": object.__delattr__,
    }
    return type(f"Unfinished{cls.__name__}", (cls.__base__,), members)


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
    cls: type[Any], name: str, read: Callable[[Any, Any], Any]
) -> Callable[[Any, Any], None]:
    """Let the slot of a member hold a substitute, from which the value is made when it is read.

    Type checkers and attrs see no difference: they use the annotation in the body of the class.

    Args:
        cls: the class.
        name: the name of the member.
        read: a function that returns the value, given the object and the content of its slot.

    Returns:
        A function that sets the slot of an object.
    """
    slot = getattr(cls, name)
    get, fill = slot.__get__, slot.__set__
    setattr(cls, name, property(lambda item: read(item, get(item)), fill, slot.__delete__))
    set_slot: Callable[[Any, Any], None] = fill
    return set_slot
