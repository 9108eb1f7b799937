"""The codec: any JSON object becomes an object of a class and back, unchanged.

No value raises an exception, and each member is kept even if it is unknown or has a wrong type.
"""

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
from hypothesis import given, settings, strategies as st

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
    decode,
    fields_of,
    has_invalid,
    on_wire_as,
    said_null,
    schema_of,
    wire_object,
    wrong_types,
)
from sansio_stream.copies import copy_with, evolve, with_wire

OBJECTS = vocabulary.objects_by_class()


# Example classes with every kind of member.


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


def test_an_absent_member_has_its_default_and_is_not_encoded() -> None:
    tree = decode(Tree, {})
    assert (tree.name, tree.height, tree.in_, tree.parts, tree.leaves) == ("", None, None, (), None)
    assert (tree.leaf.text, tree.leaf.to_dict(), tree.part.to_dict()) == ("", {}, {})
    assert tree.anything is None
    assert tree.to_dict() == {}


def test_none_is_encoded_as_null_if_the_member_is_required_and_omitted_if_optional() -> None:
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
def test_a_value_of_the_wrong_type_is_kept_and_the_member_has_its_default(
    name: str, values: list[Any]
) -> None:
    absent = decode(Tree, {key: value for key, value in TREE.items() if key != name})
    for value in values:
        tree = decode(Tree, {**TREE, name: value})
        assert tree.to_dict() == {**TREE, name: value}
        assert repr(tree) == repr(absent)
        assert tree != absent
        assert tree.extra == {}
        assert has_invalid(tree, "nothing", name)
        assert wrong_types(tree) == (set() if value is None else {name})
        assert said_null(tree, name) == (value is None)
    assert not said_null(absent, name)


def test_an_absent_optional_member_is_not_invalid() -> None:
    assert not has_invalid(decode(Tree, TREE), *TREE)
    assert not has_invalid(decode(Tree, {**TREE, "new": 1}), *TREE, "new")
    without = {key: value for key, value in TREE.items() if key != "leaves"}
    assert not has_invalid(decode(Tree, without), "leaves")
    assert has_invalid(decode(Tree, {}), "name")


def test_null_is_not_invalid_where_the_type_allows_it() -> None:
    tree = decode(Tree, {**TREE, "height": None, "in": None, "anything": None})
    assert not has_invalid(tree, *TREE)
    assert tree.to_dict() == {**TREE, "height": None, "in": None, "anything": None}


def test_said_null_takes_the_json_name_of_a_member() -> None:
    tree = decode(Tree, {**TREE, "in": None, "new": None, "leaves": None})
    assert all(said_null(tree, name) for name in ("in", "new", "leaves"))
    assert not any(said_null(tree, name) for name in ("in_", "name", "seen", "no member"))


def test_values_of_a_subclass_fit_but_a_boolean_is_not_a_number() -> None:
    class Word(str):
        __slots__ = ()

    assert decode(Tree, {**TREE, "name": Word("oak")}).name == "oak"
    assert wrong_types(decode(Tree, {**TREE, "height": True})) == {"height"}


def test_a_member_without_a_json_name_is_neither_decoded_nor_encoded() -> None:
    tree = decode(Tree, {**TREE, "seen": 5})
    assert tree.seen == 0
    assert tree.extra == {"seen": 5}
    assert copy_with(tree, seen=3).to_dict() == {**TREE, "seen": 5}


def test_copy_with_replaces_the_invalid_value_of_the_member() -> None:
    tree = decode(Tree, {**TREE, "in": "invalid", "name": 5, "new": 1})
    changed = copy_with(tree, in_=None)
    assert changed.to_dict() == {**TREE, "in": None, "name": 5, "new": 1}
    assert copy_with(changed, name="elm").to_dict() == {
        **TREE,
        "in": None,
        "name": "elm",
        "new": 1,
    }
    assert tree.to_dict()["in"] == "invalid"
    assert copy_with(decode(Tree, {**TREE, "name": 5}), name="oak") == decode(Tree, TREE)


def test_with_wire_changes_the_encoded_values_and_not_the_members() -> None:
    tree = with_wire(decode(Tree, TREE), name=None, new=1)
    assert tree.name == "oak"
    assert tree.to_dict() == {**TREE, "name": None, "new": 1}


def test_with_wire_copies_an_object_without_members() -> None:
    assert with_wire(Bud(), new=1) == decode(Bud, {"type": "bud", "new": 1})


@pytest.mark.parametrize("cls", OBJECTS)
def test_evolve_has_the_same_result_as_attrs_evolve(cls: type[Any]) -> None:
    thing = OBJECTS[cls]
    names = [field.name for field in fields_of(cls)]
    for field in fields_of(cls):
        changes = {field.alias or field.name: object()}
        changed, expected = evolve(thing, **changes), attrs.evolve(thing, **changes)
        assert type(changed) is cls
        for name in names:
            assert getattr(changed, name) is getattr(expected, name)
        assert all(getattr(evolve(thing), name) is getattr(thing, name) for name in names)


def test_to_dict_returns_a_new_dict() -> None:
    tree = decode(Tree, TREE)
    tree.to_dict().clear()
    tree.to_dict()["parts"].clear()
    tree.to_dict()["leaf"].clear()
    assert tree.to_dict() == TREE


def test_any_mapping_can_be_decoded() -> None:
    payload = MappingProxyType({**LEAF, "new": 1})
    assert decode(Leaf, payload) == Leaf("green", rest={"new": 1})


def test_a_repr_shows_the_members_that_are_set() -> None:
    assert repr(decode(Leaf, LEAF)) == "Leaf(text='green')"
    assert repr(decode(Leaf, {**LEAF, "new": 1})) == "Leaf(text='green', extra={'new': 1})"
    assert repr(Twig(None)) == "Twig(length=None)"
    assert repr(Usage(input_tokens=0)) == "Usage(input_tokens=0)"
    assert repr(Usage()) == "Usage()"
    assert "seen" not in repr(decode(Tree, TREE))


def test_objects_with_different_json_are_different() -> None:
    absent, null = decode(Usage, {}), decode(Usage, {"speed": None})
    assert absent != null
    assert (absent.speed, null.speed) == (None, None)
    assert decode(Leaf, LEAF) != decode(Leaf, {**LEAF, "new": None})
    assert decode(Leaf, LEAF) != cast("object", LEAF)


def test_objects_of_two_classes_are_different_even_with_the_same_members() -> None:
    @wire_object
    class Blade(Leaf):
        pass

    assert Blade("green").to_dict() == Leaf("green").to_dict()
    assert Blade("green") == Blade("green")
    assert Blade("green") != Leaf("green")
    assert Leaf("green") != Blade("green")


def test_a_class_without_a_type_keeps_a_member_named_type() -> None:
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
def test_every_class_decodes_what_it_encodes(cls: type[WireObject]) -> None:
    read = OBJECTS[cls]
    if getattr(cls, "type", None) != "unknown":
        assert read.extra == {}
    assert "extra" not in repr(decode(cls, {}))
    assert decode(cls, read.to_dict()) == copy_with(read, **off_wire(read))


def off_wire(thing: WireObject) -> dict[str, Any]:
    """Return the defaults of the members that have no JSON name."""
    return {
        field.alias or field.name: field.default
        for field in fields_of(type(thing))
        if field.metadata.get("wire", "") is None and field.name != "_rest"
    }


@pytest.mark.parametrize("cls", OBJECTS)
def test_every_class_and_its_properties_have_docstrings(cls: type[WireObject]) -> None:
    assert inspect.getdoc(cls)
    for name, member in vars(cls).items():
        if isinstance(member, property) and not name.startswith("_"):
            assert inspect.getdoc(member), f"{cls.__name__}.{name}"


# No exception, no lost member

READERS = pytest.mark.parametrize("read", [event_from_dict, block_from_dict, message_from_dict])


@READERS
@given(payload=vocabulary.OBJECTS | vocabulary.TYPED_OBJECTS)
def test_any_object_is_decoded_and_encoded_unchanged(read: Any, payload: dict[str, Any]) -> None:
    before = copy.deepcopy(payload)
    assert json_text(read(payload).to_dict()) == json_text(before)
    assert payload == before


@given(st.data())
def test_any_change_to_a_valid_payload_is_kept(data: st.DataObject) -> None:
    read, good = data.draw(st.sampled_from(vocabulary.PAYLOADS))
    payload = data.draw(vocabulary.mutated(good))
    before = copy.deepcopy(payload)
    thing = read(payload)
    assert json_text(thing.to_dict()) == json_text(before)
    assert payload == before
    assert pickle.loads(pickle.dumps(thing)) == thing
    assert repr(thing)


@contextmanager
def without_type_comparison() -> Generator[None]:
    """Disable the comparison of types, so that every value is checked by `fits`."""

    def schema_without_types(cls: type[Any]) -> ClassSchema:
        schema = ClassSchema(cls)
        for member in schema.members:
            member.kind = None
        return schema

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(codec, "schema_of", schema_without_types)
        yield


@given(st.data())
def test_comparing_types_first_does_not_change_the_result(data: st.DataObject) -> None:
    read, good = data.draw(st.sampled_from(vocabulary.PAYLOADS))
    payload = data.draw(st.just(good) | vocabulary.mutated(good))
    with_comparison = read(payload)
    with without_type_comparison():
        without_comparison = read(payload)
    assert with_comparison == without_comparison
    assert repr(with_comparison) == repr(without_comparison)
    assert json_text(with_comparison.to_dict()) == json_text(without_comparison.to_dict())


@settings(max_examples=4 * settings().max_examples)
@given(value=vocabulary.JSON)
def test_a_value_with_the_exact_type_of_a_member_fits(value: Any) -> None:
    classes: list[type[Any]] = [Tree, *OBJECTS]
    for cls in classes:
        for member in schema_of(cls).members:
            assert type(value) is not member.kind or member.fits(value), (cls, member.name)


@given(st.data())
def test_extra_has_exactly_the_unknown_members(data: st.DataObject) -> None:
    read, good = data.draw(st.sampled_from(vocabulary.PAYLOADS))
    new = data.draw(st.dictionaries(st.text(max_size=4).map("new_".__add__), vocabulary.JSON))
    thing = read({**good, **new})
    assert thing.extra == {**read(good).extra, **new}
    assert type(thing) is type(read(good))


def json_text(value: Any) -> str:
    """Return JSON text, which distinguishes values that are equal in Python: 1, 1.0 and true."""
    return json.dumps(value, sort_keys=True)


@pytest.mark.parametrize(("read", "payload"), vocabulary.PAYLOADS)
def test_the_examples_are_lossless(read: Any, payload: dict[str, Any]) -> None:
    assert json_text(read(payload).to_dict()) == json_text(payload)


def test_blocks_and_citations_of_a_message_are_objects_of_their_classes() -> None:
    message = message_from_dict(vocabulary.MESSAGE)
    assert isinstance(message, Message)
    assert [type(block) for block in message.content] == list(vocabulary.UNIONS["ContentBlock"])
    assert message.content[0].type == "text"
    assert [type(citation) for citation in message.content[0].citations or ()] == list(
        vocabulary.UNIONS["Citation"]
    )


def test_an_unknown_member_is_kept_if_its_value_is_the_type() -> None:
    assert block_from_dict({"type": "text", "text": "x", "new": "text"}).extra == {"new": "text"}


def test_absent_is_the_same_object_after_pickling() -> None:
    assert pickle.loads(pickle.dumps(ABSENT)) is ABSENT
    assert copy.deepcopy(ABSENT) is ABSENT
