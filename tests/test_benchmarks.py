"""The benchmarks measure what their names say, and the page shows the recorded results."""

import gc
import json
import re
import shutil
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree as ET

import attrs
import pytest

import bench
import contenders
import curves
import fixtures
import goals
import icount
import measuring
import page
import plot
from fixtures import Fixture
from goals import GOALS, Goal
from measuring import Figure, Work, bytes_for, interleave, ratio
from sansio_stream import TextBlock, ThinkingBlock, ToolUseBlock, ViolationCode

# Fixtures.

FIXTURES: Final[dict[str, Fixture]] = {
    make.__name__: make(size)
    for make, size in (
        (fixtures.mixed, 700),
        (fixtures.mixed_backwards, 700),
        (fixtures.mixed_by_dumps, 700),
        (fixtures.mixed_with_crlf, 700),
        (fixtures.mixed_without_names, 700),
        (fixtures.mixed_with_late_blanks, 700),
        (fixtures.text_only, 300),
        (fixtures.plain_text, 300),
        (fixtures.delicate_text, 300),
        (fixtures.many_pings, 300),
        (fixtures.string_input, 3_000),
        (fixtures.records_input, 3_000),
        (fixtures.many_blocks, 100),
        (fixtures.violations, 300),
        (fixtures.huge_event, 10_000),
    )
} | {"short_answer": fixtures.short_answer()}
NAMES: Final = pytest.mark.parametrize("name", FIXTURES)
CODES: Final = {
    "mixed_without_names": {ViolationCode.MISSING_EVENT_NAME},
    "violations": {ViolationCode.UNKNOWN_INDEX},
}
"""The codes of the violations of each fixture that has any."""


def payloads(name: str) -> list[dict[str, Any]]:
    return [json.loads(payload) for payload in FIXTURES[name].payloads]


def pieces(name: str) -> list[str]:
    """Return the texts of the deltas, without signatures."""
    deltas = [p["delta"] for p in payloads(name) if p["type"] == "content_block_delta"]
    return [
        delta[member]
        for delta in deltas
        for member in ("text", "thinking", "partial_json")
        if member in delta
    ]


def test_every_fixture_is_tested() -> None:
    defined = {
        name
        for name, value in vars(fixtures).items()
        if getattr(value, "__annotations__", {}).get("return") is Fixture and name[0] != "_"
    }
    assert defined == set(FIXTURES)


SIZES: Final = (None, 1, 64, 1_400, 16_384)
READERS: Final = (
    *(contenders.OURS, contenders.PLAIN, contenders.LOOKING, contenders.READING),
    *(contenders.KEEPING_SNAPSHOT, contenders.KEEPING_BLOCK, contenders.OBSERVING),
)


# Each fixture is read in chunks of each size, and by each reader, and each reader reads chunks of
# each size. Two readers for a fixture and a size are enough for this if they come in turn.
@NAMES
@pytest.mark.parametrize("size", SIZES)
def test_a_fixture_gives_the_message_that_it_was_made_from(name: str, size: int | None) -> None:
    fixture = FIXTURES[name]
    chunks = fixture.chunks(size)
    turn = [*FIXTURES].index(name) + SIZES.index(size)
    for reader in (READERS[turn % len(READERS)], READERS[(turn + 3) % len(READERS)]):
        machine = reader.read(chunks)
        assert reader.is_right(machine, fixture)
        assert {violation.code for violation in machine.violations} == CODES.get(name, set())


@NAMES
def test_the_payloads_of_a_fixture_give_the_same_message_as_its_frames(name: str) -> None:
    machine = contenders.pipeline_of_payloads(payloads(name))
    assert contenders.has_folded(machine, FIXTURES[name])
    assert contenders.sse_decoder(FIXTURES[name].chunks(None)) == len(FIXTURES[name].payloads)


@NAMES
def test_the_joined_chunks_are_the_body(name: str) -> None:
    fixture = FIXTURES[name]
    frames = fixture.chunks(None)
    assert len(frames) == len(fixture.payloads)
    for size in (1, 64, 1_400):
        chunks = fixture.chunks(size)
        assert b"".join(chunks) == b"".join(frames)
        assert all(len(chunk) == size for chunk in chunks[:-1])


def test_a_message_that_differs_from_the_fixture_is_detected() -> None:
    fixture = fixtures.short_answer()
    machine = contenders.pipeline(fixture.frames)
    assert contenders.has_folded(machine, fixture)
    assert not contenders.has_folded(machine, Fixture(fixture.payloads, ["Hello, world?"]))
    assert not contenders.has_folded(machine, Fixture(fixture.payloads, ["Hello, world!", ""]))


def test_the_same_arguments_give_the_same_stream() -> None:
    assert fixtures.mixed(700) == fixtures.mixed(700)
    assert fixtures.mixed(700, seed=1) != fixtures.mixed(700, seed=2)


def test_a_fixture_has_the_style_of_the_api() -> None:
    frames = fixtures.mixed(1_000).frames
    assert frames[0].startswith(b'event: message_start\ndata: {"type":"message_start","message":{')
    assert frames[-1].startswith(b"event: message_stop\n")
    assert any(frame == b'event: ping\ndata: {"type": "ping"}\n\n' for frame in frames)
    spaces = {len(frame) - len(frame[:-3].rstrip()) - 3 for frame in frames}
    assert spaces == set(range(16))
    assert 120 < sum(map(len, frames)) / len(frames) < 160


def test_mixed_has_the_three_kinds_of_blocks_in_turn() -> None:
    content = contenders.pipeline(FIXTURES["mixed"].frames).final_message().content
    assert [type(block) for block in content[:3]] == [ThinkingBlock, TextBlock, ToolUseBlock]


def test_mixed_backwards_has_the_keys_of_every_object_in_reverse() -> None:
    for forwards, back in zip(payloads("mixed"), payloads("mixed_backwards"), strict=True):
        assert back == forwards
        if len(back) > 1:
            assert [*back] == [*forwards][::-1]
            assert [*back.get("delta", {})] == [*forwards.get("delta", {})][::-1]


def test_mixed_by_dumps_has_the_style_of_json_dumps() -> None:
    for payload in FIXTURES["mixed_by_dumps"].payloads:
        assert payload == json.dumps(json.loads(payload))
    assert any("\\u" in payload for payload in FIXTURES["mixed_by_dumps"].payloads)


def test_mixed_with_crlf_differs_from_mixed_in_its_line_ends_only() -> None:
    for frame, other in zip(
        FIXTURES["mixed"].frames, FIXTURES["mixed_with_crlf"].frames, strict=True
    ):
        assert other == frame.replace(b"\n", b"\r\n")


def test_each_frame_of_mixed_without_names_has_a_violation() -> None:
    fixture = FIXTURES["mixed_without_names"]
    for frame, other in zip(FIXTURES["mixed"].frames, fixture.frames, strict=True):
        assert other == frame[frame.index(b"data: ") :]
    assert contenders.pipeline(fixture.frames).violation_count == len(fixture.frames)


def test_mixed_with_late_blanks_has_its_padding_after_the_last_brace() -> None:
    late = FIXTURES["mixed_with_late_blanks"].payloads
    assert not any(payload.rstrip(" ").endswith(" }") for payload in late)
    assert {len(payload) - len(payload.rstrip(" ")) for payload in late} == set(range(16))


@pytest.mark.parametrize("name", ["text_only", "plain_text", "delicate_text"])
def test_a_text_is_one_block_with_the_requested_number_of_events(name: str) -> None:
    kinds = [payload["type"] for payload in payloads(name)]
    assert len(kinds) == pytest.approx(300, abs=2)
    assert kinds.count("content_block_start") == 1
    assert kinds.count("content_block_delta") > 0.95 * len(kinds)


def test_plain_text_is_unescaped_ascii_and_delicate_text_is_mostly_not() -> None:
    def is_delicate(piece: str) -> bool:
        return not piece.isascii() or json.dumps(piece) != f'"{piece}"'

    assert not any(map(is_delicate, pieces("plain_text")))
    assert sum(map(is_delicate, pieces("delicate_text"))) > 0.8 * len(pieces("delicate_text"))


def test_every_third_event_of_many_pings_is_a_ping() -> None:
    kinds = [payload["type"] for payload in payloads("many_pings")]
    assert set(kinds[2:-2:3]) == {"ping"}
    assert kinds.count("ping") == 100


def test_a_short_answer_has_seven_events() -> None:
    assert len(payloads("short_answer")) == 7


@pytest.mark.parametrize("name", ["string_input", "records_input"])
def test_a_tool_input_has_many_small_deltas(name: str) -> None:
    (content,) = FIXTURES[name].contents
    assert len(content) == pytest.approx(3_000, rel=0.1)
    assert {len(piece) for piece in pieces(name)[:-1]} == set(range(4, 21))


def test_string_input_is_one_string_and_records_input_has_records() -> None:
    string = json.loads(FIXTURES["string_input"].contents[0])
    assert len(string["content"]) == 3_000
    records = json.loads(FIXTURES["records_input"].contents[0])["records"]
    assert len(records) == 3_000 // 86
    assert all(isinstance(record, dict) for record in records)


def test_many_blocks_has_the_requested_number_of_blocks() -> None:
    assert len(FIXTURES["many_blocks"].contents) == 100


def test_nearly_every_event_of_violations_is_a_violation() -> None:
    machine = contenders.pipeline(FIXTURES["violations"].frames)
    assert {violation.code for violation in machine.violations} == {ViolationCode.UNKNOWN_INDEX}
    assert machine.violation_count == 300 - 6


def test_a_huge_event_contains_the_whole_text() -> None:
    assert max(map(len, FIXTURES["huge_event"].frames)) > 10_000
    assert len(pieces("huge_event")) == 1


# Measuring.


@pytest.fixture
def quick_collections() -> Iterator[None]:
    """Freeze the objects of the other tests: each collection that measures would visit them all."""
    gc.freeze()
    yield
    gc.unfreeze()


QUICK_COLLECTIONS: Final = pytest.mark.usefixtures("quick_collections")


@QUICK_COLLECTIONS
def test_each_work_runs_in_each_round_and_the_warm_up_does_not_count() -> None:
    runs: list[str] = []

    def work(name: str) -> Work:
        def run() -> None:
            runs.append(name)
            total = 0
            while total < 200_000:
                total += 1

        return Work(run, lambda result: result is None)

    samples = interleave({"one": work("one"), "other": work("other")}, 3)
    assert samples["one"].keys() == samples["other"].keys() == {0, 1, 2, 3}
    assert set(runs) == {"one", "other"}
    figure = ratio(samples, "one", "other")
    one, other = samples["one"], samples["other"]
    assert sorted(one[number] / other[number] for number in (1, 2, 3))[1] == figure.value
    assert figure.low <= figure.value <= figure.high


def test_a_work_that_ran_once_is_compared_by_its_warm_up() -> None:
    samples = {"slow": {0: 12.0}, "fast": {0: 3.0, 1: 1.0, 2: 1.0}}
    assert ratio(samples, "slow", "fast").value == 4


@QUICK_COLLECTIONS
def test_a_work_with_a_wrong_result_is_not_measured() -> None:
    with pytest.raises(AssertionError, match="wrong result"):
        interleave({"work": Work(lambda: 1, lambda result: result == 2)}, 1)


@QUICK_COLLECTIONS
def test_bytes_for_returns_the_memory_of_the_result() -> None:
    assert bytes_for(lambda: bytes(100_000)) == pytest.approx(100_000, abs=2_000)
    assert abs(bytes_for(lambda: bytes(100_000)[:0])) < 2_000


def test_the_name_of_a_missing_peer_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    def missing_peer() -> Any:
        raise ModuleNotFoundError("No module named 'missing'")

    assert contenders.found([missing_peer]) == []
    assert capsys.readouterr().out == "left out: missing_peer (No module named 'missing')\n"


# The table of targets.

ROWS: Final = [goal for group in GOALS.values() for goal in group]


def test_every_row_has_a_unique_name() -> None:
    assert len({goal.what for goal in ROWS}) == len(ROWS)


def test_the_limit_of_a_goal_is_a_maximum_or_a_minimum() -> None:
    maximum = Goal("", 2.0, lambda _: Figure(1, 1, 1))
    minimum = attrs.evolve(maximum, at_least=True)
    assert [maximum.is_met(2.0), maximum.is_met(2.01)] == [True, False]
    assert [minimum.is_met(2.0), minimum.is_met(1.99)] == [True, False]
    assert [maximum.target, minimum.target] == ["≤ 2.00 ×", "≥ 2.00 ×"]
    assert attrs.evolve(maximum, is_aim=True).target == "aim ≤ 2.00 ×"
    assert attrs.evolve(maximum, limit=None).target == "reported"
    assert attrs.evolve(maximum, limit=None).is_met(99)


@pytest.mark.parametrize(
    ("value", "as_text"),
    [
        (0.0312, "0.031 ×"),
        (0.5, "0.50 ×"),
        (9.996, "10.00 ×"),
        (12.34, "12.3 ×"),
        (2345.6, "2,346 ×"),
    ],
)
def test_a_figure_is_shown_with_its_significant_digits(value: float, as_text: str) -> None:
    assert goals.shown(value, "×") == as_text


def test_the_command_prints_each_row_and_succeeds_even_if_a_target_is_missed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing(_: int) -> Figure:
        raise ImportError("not installed")

    rows = (
        Goal("missed", 1.0, lambda rounds: Figure(rounds, 1.5, 2.5)),
        Goal("met", 3.0, lambda rounds: Figure(rounds, 1.5, 2.5)),
        Goal("no peer", 3.0, missing),
    )
    monkeypatch.setitem(GOALS, "import", rows)
    file = tmp_path / "figures.json"
    monkeypatch.setattr(sys, "argv", ["bench", "--quick", "--only", "import", "--json", str(file)])
    bench.main()
    lines = capsys.readouterr().out.splitlines()[-3:]
    assert [" ".join(line.split()) for line in lines] == [
        "missed 2.00 × ≤ 1.00 × NOT MET 1.5 to 2.5",
        "met 2.00 × ≤ 3.00 × met 1.5 to 2.5",
        "no peer left out: not installed",
    ]
    figures = json.loads(file.read_text(encoding="utf-8"))
    assert figures["goals"] == {"missed": [2.0, 1.5, 2.5], "met": [2.0, 1.5, 2.5]}
    assert figures["conditions"]["rounds"] == 2


# The page.


def test_the_tables_of_the_page_are_generated_from_the_results() -> None:
    text = page.PAGE.read_text(encoding="utf-8")
    assert re.findall(r"<!-- made: (\w+) -->", text) == [
        "targets",
        "measured",
        "peers",
        "instructions",
    ]
    assert page.made(text) == text


SVG: Final = "{http://www.w3.org/2000/svg}"
DESCRIPTION: Final = "{http://purl.org/dc/elements/1.1/}description"


def words_of(picture: str) -> set[str | None]:
    """Return the texts of a plot."""
    return {element.text for element in ET.fromstring(picture).iter(f"{SVG}text")}  # noqa: S314


@pytest.mark.parametrize("name", curves.CURVES)
def test_a_plot_on_the_page_shows_the_recorded_results(name: str) -> None:
    path, lines = page.picture_of(name), page.lines_of(name)
    picture = path.read_text(encoding="utf-8")
    (description,) = ET.fromstring(picture).iter(DESCRIPTION)  # noqa: S314
    assert description.text == plot.described(lines)
    conditions = page.conditions_of(page.results()[0]["conditions"])
    assert {*lines, curves.CURVES[name].title, *conditions} <= words_of(picture)
    assert f"({path.name})" in page.PAGE.read_text(encoding="utf-8")


def test_the_plots_are_generated_from_the_results() -> None:
    pytest.importorskip("matplotlib", reason="matplotlib draws the plots")
    for path, picture in page.pictures().items():
        assert path.read_text(encoding="utf-8") == picture


def test_a_file_of_results_is_named_for_its_version_of_python() -> None:
    versions = [path.stem for path in sorted(page.RESULTS.glob("*.json"))]
    assert versions == page.heads()


def test_the_results_have_all_rows_and_curves_and_no_others() -> None:
    for result in page.results():
        assert list(result["goals"]) == [goal.what for goal in ROWS]
        assert list(result["curves"]) == list(curves.CURVES)


def test_a_figure_that_misses_its_target_is_bold(monkeypatch: pytest.MonkeyPatch) -> None:
    result = page.results()[0]
    first, second = ROWS[0], ROWS[1]
    assert first.limit is not None
    assert second.limit is not None
    result["goals"][first.what] = [first.limit + 1, 0, 0]
    result["goals"][second.what] = [second.limit, 0, 0]
    monkeypatch.setattr(page, "results", lambda: [result])
    _, _, missed, met, *_ = page.targets().splitlines()
    assert missed.endswith(f"| **{first.limit + 1:.2f} ×** |")
    assert met.endswith(f"| {second.limit:.2f} × |")


def test_a_plot_names_every_line_and_draws_every_point() -> None:
    pytest.importorskip("matplotlib", reason="matplotlib draws the plots")
    lines = {"ours": [(1.0, 2.0), (10.0, 1.0)], "a <peer>": [(1.0, 20.0), (10.0, 30.0)]}
    drawn = plot.svg("Cost", ("size", "times"), lines, "floor", ["a day", "a place"])
    words = {"Cost", "size", "times", "ours", "a <peer>", "floor", "a day", "a place"}
    assert words <= words_of(drawn)
    lines_drawn = [
        [*group.iter(f"{SVG}use")]
        for group in ET.fromstring(drawn).iter(f"{SVG}g")  # noqa: S314
        if group.get("id", "").startswith("line-")
    ]
    assert [len(markers) for markers in lines_drawn] == [2, 2]
    assert plot.svg("Cost", ("size", "times"), lines, "floor", ["a day", "a place"]) == drawn


def test_a_plot_has_a_style_for_every_line() -> None:
    for result in page.results():
        assert all(len(lines) <= len(plot.STYLES) for lines in result["curves"].values())
    assert len({marker for *_, marker in plot.STYLES}) == len(plot.STYLES)


def test_names_of_lines_do_not_overlap() -> None:
    moved = plot.apart([10.0, 11.0, 12.0, 90.0], 16)
    assert moved == [10.0, 26.0, 42.0, 90.0]
    assert all(after - before >= 16 for before, after in pairwise(moved))


@pytest.mark.parametrize(
    ("number", "as_text"),
    [(1, "1"), (0.5, "0.5"), (65_536, "64 Ki"), (200_000, "200 k"), (1e6, "1 M")],
)
def test_the_label_of_a_tick_is_short(number: float, as_text: str) -> None:
    assert plot.short(number) == as_text


# Instructions.

COUNTED: Final = {"mixed: floor": 1_000, "mixed, 64 B": 2_000}


@pytest.mark.parametrize(
    ("figures", "is_worse", "printed"),
    [
        ({"mixed: floor": 1_000, "mixed, 64 B": 2_050}, False, "+2.5%"),
        ({"mixed: floor": 1_000, "mixed, 64 B": 2_070}, True, "TOO MUCH"),
        ({"mixed: floor": 1_000, "mixed, 64 B": 1_500}, False, "-25.0%"),
        ({"mixed: floor": 1_100, "mixed, 64 B": 2_500}, False, "another build"),
    ],
)
def test_more_instructions_are_a_failure_only_on_the_same_build_of_python(
    figures: dict[str, int], is_worse: bool, printed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert icount.compare(figures, COUNTED, 0.03) is is_worse
    assert printed in capsys.readouterr().out


def test_instructions_are_stored_by_version_of_python(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    before = icount.kept()
    monkeypatch.setattr(icount, "KEPT", Path(shutil.copy(icount.KEPT, tmp_path)))
    monkeypatch.setattr("platform.python_version", lambda: "3.99.0")
    icount.keep(COUNTED)
    after = icount.kept()
    assert after["tolerance"] == before["tolerance"] == 0.03
    assert after["instructions"] == {**before["instructions"], "3.99.0": COUNTED}
    assert after["builds"] == {**before.get("builds", {}), "3.99.0": measuring.build()}


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        (
            {"CONFIG_ARGS": "'--prefix=/usr'", "PY_CFLAGS": "-g -O2 -O3 -Wall"},
            "-O3, no PGO, no LTO",
        ),
        ({"CONFIG_ARGS": "'--enable-optimizations' '--with-lto'"}, "PGO, LTO"),
        ({"PY_CFLAGS_NODIST": "-O3 -flto -fprofile-use"}, "-O3, PGO, LTO"),
    ],
)
def test_a_build_is_named_by_its_optimisations(
    variables: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sysconfig.get_config_var", variables.get)
    assert measuring.build() == expected


def test_without_valgrind_nothing_is_counted_and_a_message_is_printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("shutil.which", lambda _: None)
    monkeypatch.setattr(sys, "argv", ["icount"])
    icount.main()
    assert "valgrind is not installed" in capsys.readouterr().out


def test_the_stored_counts_are_of_the_counted_cases() -> None:
    cases = list(icount.cases())
    for figures in icount.kept()["instructions"].values():
        assert list(figures) == cases
