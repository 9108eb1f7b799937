"""Translation: nothing raised, nothing lost, for any JSON object and every damage to a good one."""

import copy
import inspect
import json
import pickle
from collections.abc import Generator
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, ClassVar, Literal, cast

import attrs
import pytest
from hypothesis import given, strategies as st

import vocabulary
from sansio_stream import (
    Message,
    Usage,
    block_from_dict,
    codec,
    event_from_dict,
    message_from_dict,
)
from sansio_stream.codec import (
    ABSENT,
    OFF_WIRE,
    ClassSchema,
    WireObject,
    copy_with,
    decode,
    evolve,
    fields_of,
    has_invalid,
    on_wire_as,
    said_null,
    schema_of,
    wire_object,
    with_wire,
    wrong_types,
)

OBJECTS = vocabulary.objects_by_class()


# A small vocabulary of our own, with a member of every kind.


@wire_object
class Leaf(WireObject):
    type: ClassVar[Literal["leaf"]] = "leaf"
    text: str


@wire_object
class Bud(WireObject):
    type: ClassVar[Literal["bud"]] = "bud"


@wire_object
class Twig(WireObject):
    type: ClassVar[Literal["twig"]] = "twig"
    length: int | None


@wire_object
class UnknownPart(WireObject):
    type: ClassVar[Literal["unknown"]] = "unknown"
    wire_type: str = attrs.field(metadata=on_wire_as("type"))


@wire_object
class Tree(WireObject):
    type: ClassVar[Literal["tree"]] = "tree"
    name: str
    height: int | None
    in_: dict[str, Any] | None = attrs.field(metadata=on_wire_as("in"))
    part: Leaf | Twig | UnknownPart
    parts: tuple[Leaf | Twig | UnknownPart, ...]
    leaf: Leaf
    anything: Any
    is_old: bool | None = None
    rings: list[Any] | None = None
    weight: float | None = None
    leaves: tuple[Leaf, ...] | None = None
    anything_else: Any = None
    seen: int = attrs.field(default=0, kw_only=True, metadata=OFF_WIRE)


LEAF = {"type": "leaf", "text": "green"}
TREE: dict[str, Any] = {
    "type": "tree",
    "name": "oak",
    "height": 7,
    "in": {"wood": "dark"},
    "part": {"type": "twig", "length": 0},
    "parts": [LEAF, {"type": "twig", "length": 2}, {"type": "nest", "eggs": 3}],
    "leaf": LEAF,
    "anything": ["goes"],
    "is_old": False,
    "rings": [],
    "weight": 0.5,
    "leaves": [LEAF],
    "anything_else": {},
}


def test_every_kind_of_member_is_read_by_its_annotation() -> None:
    leaf = Leaf("green")
    assert decode(Tree, TREE) == Tree(
        name="oak",
        height=7,
        in_={"wood": "dark"},
        part=Twig(0),
        parts=(leaf, Twig(2), UnknownPart("nest", rest={"eggs": 3})),
        leaf=leaf,
        anything=["goes"],
        is_old=False,
        rings=[],
        weight=0.5,
        leaves=(leaf,),
        anything_else={},
    )


def test_what_is_absent_reads_as_nothing_and_is_not_written() -> None:
    tree = decode(Tree, {})
    assert (tree.name, tree.height, tree.in_, tree.parts, tree.leaves) == ("", None, None, (), None)
    assert (tree.leaf.text, tree.leaf.to_dict(), tree.part.to_dict()) == ("", {}, {})
    assert tree.anything is None
    assert tree.to_dict() == {}


def test_required_members_are_written_as_null_and_optional_ones_are_left_out() -> None:
    tree = Tree("oak", None, None, Twig(None), (), Leaf(""), None)
    assert tree.to_dict() == {
        "type": "tree",
        "name": "oak",
        "height": None,
        "in": None,
        "part": {"type": "twig", "length": None},
        "parts": [],
        "leaf": {"type": "leaf", "text": ""},
        "anything": None,
    }
    assert decode(Tree, tree.to_dict()) == tree


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("name", [None, 5, True, ["x"], {}]),
        ("height", ["7", True, 7.0, [], {}]),
        ("in", ["x", 5, []]),
        ("part", [None, "x", [], 5]),
        ("parts", [None, {}, "x", [LEAF, 5], [None], [[]]]),
        ("leaf", [None, "x", [LEAF]]),
        ("is_old", [None, 0, 1, "true"]),
        ("rings", [None, {}, "x"]),
        ("weight", [None, 1, "1.5", False]),
        ("leaves", [None, [None], [5], {}]),
        ("anything_else", [None]),
        ("type", [None, "bush", 5, ["tree"]]),
    ],
)
def test_a_value_that_does_not_fit_is_kept_and_reads_as_absent(
    name: str, values: list[Any]
) -> None:
    absent = decode(Tree, {key: value for key, value in TREE.items() if key != name})
    for misfit in values:
        tree = decode(Tree, {**TREE, name: misfit})
        assert tree.to_dict() == {**TREE, name: misfit}
        assert repr(tree) == repr(absent)
        assert tree != absent
        assert tree.extra == {}
        assert has_invalid(tree, "nothing", name)
        assert wrong_types(tree) == (set() if misfit is None else {name})
        assert said_null(tree, name) == (misfit is None)
    assert not said_null(absent, name)


def test_an_optional_member_that_is_absent_is_no_misfit() -> None:
    assert not has_invalid(decode(Tree, TREE), *TREE)
    assert not has_invalid(decode(Tree, {**TREE, "new": 1}), *TREE, "new")
    without = {key: value for key, value in TREE.items() if key != "leaves"}
    assert not has_invalid(decode(Tree, without), "leaves")
    assert has_invalid(decode(Tree, {}), "name")


def test_null_where_null_is_a_value_is_no_misfit() -> None:
    tree = decode(Tree, {**TREE, "height": None, "in": None, "anything": None})
    assert not has_invalid(tree, *TREE)
    assert tree.to_dict() == {**TREE, "height": None, "in": None, "anything": None}


def test_null_is_told_by_the_name_it_has_on_the_wire() -> None:
    tree = decode(Tree, {**TREE, "in": None, "new": None, "leaves": None})
    assert all(said_null(tree, name) for name in ("in", "new", "leaves"))
    assert not any(said_null(tree, name) for name in ("in_", "name", "seen", "never heard of"))


def test_values_of_a_subclass_fit_but_true_is_no_number() -> None:
    class Word(str):
        __slots__ = ()

    assert decode(Tree, {**TREE, "name": Word("oak")}).name == "oak"
    assert wrong_types(decode(Tree, {**TREE, "height": True})) == {"height"}


def test_a_member_off_the_wire_is_neither_read_nor_written() -> None:
    tree = decode(Tree, {**TREE, "seen": 5})
    assert tree.seen == 0
    assert tree.extra == {"seen": 5}
    assert copy_with(tree, seen=3).to_dict() == {**TREE, "seen": 5}


def test_an_amended_copy_forgets_what_the_wire_had_in_that_place() -> None:
    tree = decode(Tree, {**TREE, "in": "misfit", "name": 5, "new": 1})
    changed = copy_with(tree, in_=None)
    assert changed.to_dict() == {**TREE, "in": None, "name": 5, "new": 1}
    assert copy_with(changed, name="elm").to_dict() == {
        **TREE,
        "in": None,
        "name": "elm",
        "new": 1,
    }
    assert tree.to_dict()["in"] == "misfit"
    assert copy_with(decode(Tree, {**TREE, "name": 5}), name="oak") == decode(Tree, TREE)


def test_a_copy_can_be_written_with_other_values_than_its_members() -> None:
    tree = with_wire(decode(Tree, TREE), name=None, new=1)
    assert tree.name == "oak"
    assert tree.to_dict() == {**TREE, "name": None, "new": 1}


def test_what_has_no_members_is_copied_too() -> None:
    assert with_wire(Bud(), new=1) == decode(Bud, {"type": "bud", "new": 1})


@pytest.mark.parametrize("cls", OBJECTS)
def test_a_copy_is_what_attrs_makes_of_the_same_changes(cls: type[Any]) -> None:
    thing = OBJECTS[cls]
    names = [field.name for field in fields_of(cls)]
    for field in fields_of(cls):
        changes = {field.alias or field.name: object()}
        changed, expected = evolve(thing, **changes), attrs.evolve(thing, **changes)
        assert type(changed) is cls
        for name in names:
            assert getattr(changed, name) is getattr(expected, name)
        assert all(getattr(evolve(thing), name) is getattr(thing, name) for name in names)


def test_what_to_dict_gives_is_a_new_dict() -> None:
    tree = decode(Tree, TREE)
    tree.to_dict().clear()
    tree.to_dict()["parts"].clear()
    tree.to_dict()["leaf"].clear()
    assert tree.to_dict() == TREE


def test_any_mapping_can_be_read() -> None:
    payload = MappingProxyType({**LEAF, "new": 1})
    assert decode(Leaf, payload) == Leaf("green", rest={"new": 1})


def test_a_repr_shows_what_is_said_and_hides_what_is_not() -> None:
    assert repr(decode(Leaf, LEAF)) == "Leaf(text='green')"
    assert repr(decode(Leaf, {**LEAF, "new": 1})) == "Leaf(text='green', extra={'new': 1})"
    assert repr(Twig(None)) == "Twig(length=None)"
    assert repr(Usage(input_tokens=0)) == "Usage(input_tokens=0)"
    assert repr(Usage()) == "Usage()"
    assert "seen" not in repr(decode(Tree, TREE))


def test_objects_that_were_written_differently_are_different() -> None:
    absent, null = decode(Usage, {}), decode(Usage, {"speed": None})
    assert absent != null
    assert (absent.speed, null.speed) == (None, None)
    assert decode(Leaf, LEAF) != decode(Leaf, {**LEAF, "new": None})
    assert decode(Leaf, LEAF) != cast("object", LEAF)


def test_objects_of_two_classes_are_different_whatever_they_hold() -> None:
    @wire_object
    class Blade(Leaf):
        pass

    assert Blade("green").to_dict() == Leaf("green").to_dict()
    assert Blade("green") == Blade("green")
    assert Blade("green") != Leaf("green")
    assert Leaf("green") != Blade("green")


def test_an_object_without_a_type_keeps_a_member_of_that_name() -> None:
    usage = decode(Usage, {"type": "billed"})
    assert usage.extra == {"type": "billed"}
    assert usage.to_dict() == {"type": "billed"}


# Every class of the vocabulary


@pytest.mark.parametrize("cls", OBJECTS)
def test_every_class_is_a_frozen_value_that_pickles_and_copies(cls: type[WireObject]) -> None:
    read = OBJECTS[cls]
    payload = read.to_dict()
    for thing in (read, decode(cls, {**payload, "new": {"a": [1]}}), decode(cls, {})):
        for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
            assert pickle.loads(pickle.dumps(thing, protocol)) == thing
        other = copy.deepcopy(thing)
        assert other == thing
        assert other.to_dict() == thing.to_dict()
        assert not hasattr(thing, "__dict__")
        with pytest.raises(TypeError, match="unhashable"):
            hash(thing)
        for name in (field.name for field in fields_of(cls)):
            with pytest.raises(attrs.exceptions.FrozenInstanceError):
                setattr(thing, name, None)
    assert decode(cls, {**payload, "new": 1}) != read


@pytest.mark.parametrize("cls", OBJECTS)
def test_every_class_is_read_from_what_it_writes(cls: type[WireObject]) -> None:
    read = OBJECTS[cls]
    if getattr(cls, "type", None) != "unknown":
        assert read.extra == {}
    assert "extra" not in repr(decode(cls, {}))
    assert decode(cls, read.to_dict()) == copy_with(read, **off_wire(read))


def off_wire(thing: WireObject) -> dict[str, Any]:
    """The defaults of the members that are not on the wire."""
    return {
        field.alias or field.name: field.default
        for field in fields_of(type(thing))
        if field.metadata.get("wire", "") is None and field.name != "_rest"
    }


@pytest.mark.parametrize("cls", OBJECTS)
def test_every_class_and_its_public_members_are_described(cls: type[WireObject]) -> None:
    assert inspect.getdoc(cls)
    for name, member in vars(cls).items():
        if isinstance(member, property) and not name.startswith("_"):
            assert inspect.getdoc(member), f"{cls.__name__}.{name}"


# Nothing raised, nothing lost

READERS = pytest.mark.parametrize("read", [event_from_dict, block_from_dict, message_from_dict])


@READERS
@given(payload=vocabulary.OBJECTS | vocabulary.TYPED_OBJECTS)
def test_any_object_is_read_and_written_back(read: Any, payload: dict[str, Any]) -> None:
    before = copy.deepcopy(payload)
    assert exact(read(payload).to_dict()) == exact(before)
    assert payload == before


@given(st.data())
def test_any_damage_to_a_good_payload_is_kept(data: st.DataObject) -> None:
    read, good = data.draw(st.sampled_from(vocabulary.PAYLOADS))
    payload = data.draw(vocabulary.mutated(good))
    before = copy.deepcopy(payload)
    thing = read(payload)
    assert exact(thing.to_dict()) == exact(before)
    assert payload == before
    assert pickle.loads(pickle.dumps(thing)) == thing
    assert repr(thing)


@contextmanager
def without_a_look_at_types() -> Generator[None]:
    """Ask each member whether a value fits, and never its type."""

    def careful_plan_of(cls: type[Any]) -> ClassSchema:
        plan = ClassSchema(cls)
        for member in plan.members:
            member.kind = None
        return plan

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(codec, "schema_of", careful_plan_of)
        yield


@given(st.data())
def test_the_look_at_a_type_is_a_shortcut_and_nothing_else(data: st.DataObject) -> None:
    read, good = data.draw(st.sampled_from(vocabulary.PAYLOADS))
    payload = data.draw(st.just(good) | vocabulary.mutated(good))
    quick = read(payload)
    with without_a_look_at_types():
        careful = read(payload)
    assert quick == careful
    assert repr(quick) == repr(careful)
    assert exact(quick.to_dict()) == exact(careful.to_dict())


@pytest.mark.parametrize("cls", [Tree, *OBJECTS])
@given(value=vocabulary.JSON)
def test_a_value_of_the_type_of_a_member_fits(cls: type[WireObject], value: Any) -> None:
    for member in schema_of(cls).members:
        assert type(value) is not member.kind or member.fits(value)


@given(st.data())
def test_extra_holds_exactly_the_members_that_have_no_name(data: st.DataObject) -> None:
    read, good = data.draw(st.sampled_from(vocabulary.PAYLOADS))
    new = data.draw(st.dictionaries(st.text(max_size=4).map("new_".__add__), vocabulary.JSON))
    thing = read({**good, **new})
    assert thing.extra == {**read(good).extra, **new}
    assert type(thing) is type(read(good))


def exact(value: Any) -> str:
    """A text that tells apart what Python calls equal: 1, 1.0 and true."""
    return json.dumps(value, sort_keys=True)


@pytest.mark.parametrize(("read", "payload"), vocabulary.PAYLOADS)
def test_the_examples_are_lossless(read: Any, payload: dict[str, Any]) -> None:
    assert exact(read(payload).to_dict()) == exact(payload)


def test_a_whole_message_is_read_to_its_depth() -> None:
    message = message_from_dict(vocabulary.MESSAGE)
    assert isinstance(message, Message)
    assert [type(block) for block in message.content] == list(vocabulary.UNIONS["ContentBlock"])
    assert message.content[0].type == "text"
    assert [type(citation) for citation in message.content[0].citations or ()] == list(
        vocabulary.UNIONS["Citation"]
    )


def test_the_mark_of_absence_is_one_object_also_after_pickling() -> None:
    assert pickle.loads(pickle.dumps(ABSENT)) is ABSENT
    assert copy.deepcopy(ABSENT) is ABSENT
