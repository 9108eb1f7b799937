"""The pages agree with the code: tables are compared, cases are run, links have a target."""

import base64
import importlib
import json
import re
from pathlib import Path
from typing import Any, Final, get_args

import attrs
import pytest

import make_formats
import make_reports
import make_states
import make_violations
import sansio_stream
import sansio_stream_adapters
import sansio_stream_tools
from sansio_stream import (
    CitationsDelta,
    CompactionDelta,
    ContentBlock,
    ContentBlockDelta,
    InputJSONDelta,
    Limits,
    MessageDelta,
    MessageDeltaEvent,
    Report,
    SignatureDelta,
    TextDelta,
    ThinkingDelta,
    ToolUseBlock,
    UnknownBlock,
    UnknownDelta,
    Verdict,
    ViolationCode,
)
from sansio_stream.blocks import FOLDS
from sansio_stream.codec import schema_of
from shared_data import REPOSITORY, load
from wire import block_start, block_stop, delta, json_piece, message_start, run

DOCS: Final = REPOSITORY / "docs"
PAGES: Final = [
    page
    for pattern in ("*.md", "docs/*.md", "examples/*.md", "benchmarks/*.md")
    for page in sorted(REPOSITORY.glob(pattern))
]


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def section(page: Path, heading: str) -> str:
    """Return the text under a heading, up to the next heading of the same or a higher level."""
    marks, _, _ = heading.partition(" ")
    _, found, rest = text_of(page).partition(f"\n{heading}\n")
    assert found, f"{page.name} has no {heading!r}"
    return re.split(rf"^#{{1,{len(marks)}}} ", rest, maxsplit=1, flags=re.MULTILINE)[0]


def rows_of(markdown: str) -> list[list[str]]:
    """Return the rows of all tables as lists of cells, without the table headers."""
    lines = [line for line in markdown.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    rules = [number for number, row in enumerate(cells) if set("".join(row)) <= {"-", " "}]
    heads = {number - 1 for number in rules}
    return [row for number, row in enumerate(cells) if number not in heads | {*rules}]


def names_in(cell: str) -> list[str]:
    """Return the texts in backticks in a cell."""
    return re.findall(r"`([^`]+)`", cell)


def name_of(cell: str) -> str:
    """Return the first text in backticks in a cell."""
    return names_in(cell)[0]


# states.md


def test_the_tables_of_states_agree_with_the_code() -> None:
    page = text_of(DOCS / "states.md")
    assert re.findall(r"<!-- made: (\w+) -->", page) == ["states", "steps", "ends"]
    assert page.count("<!-- end -->") == 3
    assert make_states.made(page) == page


def test_a_changed_table_of_states_is_generated_again() -> None:
    page = text_of(DOCS / "states.md")
    assert make_states.made(page.replace("| cannot happen |", "| can happen |")) == page
    assert "| cannot happen |" in page


def test_the_page_of_states_has_every_code_about_order_and_indexes() -> None:
    codes = list(ViolationCode)
    of_order = codes[codes.index(ViolationCode.BEFORE_MESSAGE_START) :]
    page = text_of(DOCS / "states.md")
    assert [code for code in of_order if f"`{code}`" not in page] == []


# what-a-peer-can-make-you-hold.md


@pytest.fixture(scope="module")
def make_limits() -> Any:
    """The script. Tests are skipped if a library is missing that one of its imports needs."""
    for library in ("aiohttp", "click", "h11", "rich", "uvicorn"):
        pytest.importorskip(library, reason=f"a module with a limit needs {library}")
    return importlib.import_module("make_limits")


def test_the_tables_of_limits_agree_with_the_code(make_limits: Any) -> None:
    page = text_of(DOCS / "what-a-peer-can-make-you-hold.md")
    assert re.findall(r"<!-- made: (\w+) -->", page) == ["machine", "waits", "answers", "files"]
    assert page.count("<!-- end -->") == 4
    assert make_limits.made(page) == page, "run `python docs/make_limits.py`"
    assert make_limits.unlisted() == []


def test_a_changed_default_is_generated_again(make_limits: Any) -> None:
    page = text_of(DOCS / "what-a-peer-can-make-you-hold.md")
    default = make_limits.OF_THE_MACHINE["event_bytes"][1]
    assert f"| {default} |" in page
    assert make_limits.made(page.replace(f"| {default} |", "| 1 B |")) == page


def test_the_page_of_embedding_has_the_same_defaults(make_limits: Any) -> None:
    rows = rows_of(section(DOCS / "embedding.md", "## Limits"))
    shown = {name_of(name): default for name, default, _ in rows}
    assert shown == {name: row[1] for name, row in make_limits.OF_THE_MACHINE.items()}


# violations.md


def test_the_tables_of_violations_agree_with_the_code() -> None:
    page = text_of(DOCS / "violations.md")
    assert re.findall(r"<!-- made: (\w+) -->", page) == [*make_violations.FIRST]
    assert make_violations.made(page) == page
    rows = [row for table in page.split("<!-- made: ")[1:] for row in rows_of(table)]
    listed = [name_of(code) for code, *_ in rows if name_of(code) in {*ViolationCode}]
    assert listed[: len(ViolationCode)] == [code.value for code in ViolationCode]


def test_a_changed_table_of_violations_is_generated_again() -> None:
    page = text_of(DOCS / "violations.md")
    assert make_violations.made(page.replace("| always |", "| never |")) == page
    assert "| always |" in page


# reports.md


def test_the_table_of_reports_agrees_with_the_code() -> None:
    page = text_of(DOCS / "reports.md")
    assert make_reports.made(page) == page
    listed = [name_of(name) for name, *_ in rows_of(page)]
    assert listed == [each.name for each in attrs.fields(Report)]
    assert make_reports.made(page.replace("| `bytes` | `int` |", "| `bytes` | `float` |")) == page
    assert "| `bytes` | `int` |" in page


def test_the_tables_of_formats_agree_with_the_code() -> None:
    pytest.importorskip("yaml", reason="cassettes are YAML")
    page = text_of(DOCS / "formats.md")
    assert re.findall(r"<!-- made: (\w+) -->", page) == ["formats", "unreadable"]
    assert make_formats.made(page) == page, "run `python docs/make_formats.py`"
    changed = page.replace("the message, with dots", "the message")
    assert changed != page
    assert make_formats.made(changed) == page


def test_the_list_of_fatal_errors_has_every_limit() -> None:
    listed = {
        name
        for code, *_ in rows_of(section(DOCS / "violations.md", "## Always fatal"))
        for name in names_in(code)
    }
    limits = {field.name for field in attrs.fields(Limits)} - {"violations"}
    assert listed == limits | {"spliced_message", "undecodable_payload"}


# a-million-streams.md


def test_the_table_of_rows_agrees_with_the_code() -> None:
    pytest.importorskip("pyarrow", reason="the types are those of pyarrow")
    make_rows: Any = importlib.import_module("make_rows")
    page = text_of(DOCS / "a-million-streams.md")
    assert make_rows.made(page) == page, "run `python docs/make_rows.py`"
    changed = page.replace("| `bytes` | `int64` |", "| `bytes` | `double` |")
    assert changed != page
    assert make_rows.made(changed) == page


# folding.md

DELTAS: Final[dict[Any, dict[str, Any]]] = {
    TextDelta: {"text": "a"},
    InputJSONDelta: {"partial_json": "{"},
    ThinkingDelta: {"thinking": "a"},
    SignatureDelta: {"signature": "a"},
    CitationsDelta: {"citation": {"type": "char_location"}},
    CompactionDelta: {"content": "a"},
    UnknownDelta: {"anything": 1},
}
DELTA_ROWS: Final = rows_of(section(DOCS / "folding.md", "## Deltas"))


def wire_type(cls: Any) -> str:
    return "unknown_to_the_library" if cls.type == "unknown" else cls.type


def test_every_delta_has_a_row_that_names_the_members_it_changes() -> None:
    assert [name_of(name) for name, *_ in DELTA_ROWS] == [
        cls.__name__ for cls in get_args(ContentBlockDelta)
    ]
    assert set(DELTAS) == set(get_args(ContentBlockDelta)) == {*FOLDS, UnknownDelta}
    for (name, kind, _, effect), cls in zip(DELTA_ROWS, get_args(ContentBlockDelta), strict=True):
        assert cls is UnknownDelta or names_in(kind) == [cls.type], name
        assert {rule.member for rule in FOLDS.get(cls, ())} <= {*names_in(effect)}, name


@pytest.mark.parametrize("row", DELTA_ROWS, ids=lambda row: name_of(row[0]))
def test_a_delta_only_fits_the_blocks_of_its_row(row: list[str]) -> None:
    (cls,) = (cls for cls in DELTAS if cls.__name__ == name_of(row[0]))
    fitting: list[Any] = []
    for block in get_args(ContentBlock):
        start = block_start(0, {"type": wire_type(block)})
        machine, _ = run([message_start(), start, delta(0, wire_type(cls), **DELTAS[cls])])
        codes = {violation.code for violation in machine.violations}
        assert codes <= {ViolationCode.UNFIT_DELTA}
        fitting += [] if codes else [block]
    fitting.remove(UnknownBlock)
    every = len(fitting) == len(get_args(ContentBlock)) - 1
    assert row[2] == ("every block" if every else ", ".join(f"`{b.__name__}`" for b in fitting))


def test_every_member_of_a_message_delta_has_a_row() -> None:
    members = schema_of(MessageDelta).wires | schema_of(MessageDeltaEvent).wires
    rows = rows_of(section(DOCS / "folding.md", "## message_delta"))
    assert sorted(name_of(name) for name, _ in rows) == sorted(members - {"type", "delta"})


INPUT_ROWS: Final = [
    row for row in rows_of(section(DOCS / "folding.md", "## Tool input")) if len(row) == 5
]


@pytest.mark.parametrize("row", INPUT_ROWS, ids=" ".join)
def test_a_tool_input_has_the_value_and_the_state_of_its_row(row: list[str]) -> None:
    sent, text, stopped, value, state = row
    call = {"type": "tool_use", "id": "toolu_1", "name": "lookup"}
    if sent != "absent":
        call["input"] = json.loads(name_of(sent))
    stream = [message_start(), block_start(0, call)]
    stream += [json_piece(0, name_of(text))] if text else []
    stream += [block_stop(0)] if stopped == "yes" else []
    machine, _ = run(stream)
    block = machine.block(0)
    assert isinstance(block, ToolUseBlock)
    assert block.input == json.loads(name_of(value))
    assert block.input_state == name_of(state)
    assert machine.violations == ()


def test_the_rows_of_tool_inputs_are_found() -> None:
    assert {name_of(state) for *_, state in INPUT_ROWS} == {"complete", "invalid", "incomplete"}


# embedding.md


def test_every_verdict_has_a_row() -> None:
    rows = rows_of(section(DOCS / "embedding.md", "## 4. The verdict"))
    assert [name_of(name) for name, *_ in rows] == [verdict.name for verdict in Verdict]


def test_every_limit_has_a_row_with_its_default() -> None:
    def shown(value: int) -> str:
        if value % 2**20:
            return f"{value:,}"
        return f"{value // 2**20} MiB" if value % 2**30 else f"{value // 2**30} GiB"

    rows = rows_of(section(DOCS / "embedding.md", "## Limits"))
    assert [(name_of(name), default) for name, default, _ in rows] == [
        (field.name, shown(field.default or 0)) for field in attrs.fields(Limits)
    ]


# from-the-official-sdk.md


def test_the_machine_gives_the_documented_result_for_each_vector() -> None:
    vectors = {row["name"]: row for row in load("vectors/messages.jsonl")}
    page = section(DOCS / "from-the-official-sdk.md", "## Streams with different results")
    known = {*ViolationCode, *(verdict.name for verdict in Verdict)}
    for name, _, ours, _ in rows_of(page):
        _, outcome = run([base64.b64decode(c) for c in vectors[name_of(name)]["chunks_b64"]])
        listed = known & {*names_in(ours)}
        codes: set[str] = {violation.code for violation in outcome.violations}
        assert listed - {outcome.verdict.name} == codes, name


# README.md


def test_the_table_of_modules_has_the_order_of_the_package() -> None:
    modules = re.findall(r"^    (\w+)  +", sansio_stream.__doc__ or "", re.MULTILINE)
    rows = rows_of(section(REPOSITORY / "README.md", "## The modules"))
    assert [name_of(name) for name, _ in rows] == modules
    assert modules[0] == "partial_json"


def test_every_guarantee_links_to_its_tests() -> None:
    for _, proof in rows_of(section(REPOSITORY / "README.md", "## Guarantees")):
        links = re.findall(r"\((.*?)\)", proof)
        assert links
        assert all(link.startswith("tests/test_") for link in links)


# Links.


def anchors_of(page: Path) -> set[str]:
    """Return the anchors that GitHub makes for the headings of a page."""
    prose = re.sub(r"^```.*?^```$", "", text_of(page), flags=re.DOTALL | re.MULTILINE)
    headings: list[str] = re.findall(r"^#+ (.+)$", prose, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links_of(page: Path) -> list[str]:
    return re.findall(r"\]\(([^)\s]+)\)", text_of(page))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(REPOSITORY).as_posix())
def test_every_link_leads_to_an_existing_file_and_heading(page: Path) -> None:
    for link in links_of(page):
        if link.startswith("https://"):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.is_relative_to(REPOSITORY), link
        # The packages may be installed elsewhere.
        for source in (REPOSITORY, REPOSITORY / "adapters", REPOSITORY / "tools"):
            for package in (sansio_stream, sansio_stream_adapters, sansio_stream_tools):
                if target.is_relative_to(source / package.__name__):
                    target = Path(str(package.__file__)).parents[1] / target.relative_to(source)
        assert target.is_file(), link
        assert not anchor or anchor in anchors_of(target), link


def test_links_are_found() -> None:
    assert "docs/embedding.md" in links_of(REPOSITORY / "README.md")
    assert "4-the-verdict" in anchors_of(DOCS / "embedding.md")


def test_the_picture_of_the_readme_shows_what_the_command_shows() -> None:
    make_picture: Any = importlib.import_module("make_picture")
    stored = make_picture.PICTURE.read_text(encoding="utf-8")
    shown = make_picture.shown().export_text()
    assert make_picture.text_in(stored) == "".join(shown.split())
    assert "TRUNCATED: the message began and was cut" in shown
    assert "https:" not in stored  # no font is loaded from the web
