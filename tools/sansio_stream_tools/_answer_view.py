"""The live view: the result of each frame in, readable text out.

Strategy: the view only appends text and never moves the cursor. So the same code works for
terminals and pipes. On a terminal it wraps words, and it shows a word only when the word is
complete. In a pipe it does not wrap, and it shows each piece of text at once.
"""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING, Any, Final, cast

from rich.cells import cell_len
from rich.rule import Rule
from rich.text import Text

from sansio_stream.events import (
    CitationsDelta,
    ContentBlockDeltaEvent,
    ContentBlockStartEvent,
    ContentBlockStopEvent,
    ErrorEvent,
    InputJSONDelta,
    MessageDeltaEvent,
    MessageStartEvent,
    MessageStopEvent,
    PingEvent,
    UnknownDelta,
    UnknownEvent,
)
from sansio_stream.message import (
    CompactionBlock,
    FallbackBlock,
    InputBlock,
    RedactedThinkingBlock,
    TextBlock,
    ThinkingBlock,
)
from sansio_stream.report import is_call, type_of

from ._json import Layout, Role
from ._text import one_line, printable, to_json

if TYPE_CHECKING:
    from rich.console import Console

    from sansio_stream.codec import WireObject
    from sansio_stream.events import ContentBlockDelta
    from sansio_stream.message import Citation, ContentBlock

    from ._reading import FrameResult

__all__ = ["Show", "digest", "name_of", "source_of"]

# Bounds for the width of a line in cells. Longer lines are hard to read, and shorter lines cannot
# contain most words.
WIDEST: Final = 100
NARROWEST: Final = 20

GUTTER: Final = 2
WORDS: Final = re.compile(r"\n|[^\S\n]+|\S+")

THOUGHTS: Final = "dim"
NOTE: Final = "dim"
TROUBLE: Final = "yellow"
FAILURE: Final = "bold red"
STYLES: Final = {
    Role.MARK: "dim",
    Role.KEY: "cyan",
    Role.STRING: "green",
    Role.WORD: "yellow",
    Role.BREAK: "",
}


class Writer:
    """Prints growing text: pieces in, lines out. Nothing is printed before `flush` is called."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._wraps = console.is_terminal
        self._pieces: list[tuple[str, str]] = []
        # The current line: the number of cells written, whether it contains any text, and whether
        # it continues the line before. Then the indentation of continuation lines, and the last
        # `hang` that was passed to `write`.
        self._column = 0
        self._begun = False
        self._continues = False
        self._indent = GUTTER
        self._hang = 0
        # The current word, which is incomplete, and the white space before it.
        self._space = ""
        self._word: list[tuple[str, str]] = []
        self._word_width = 0

    @property
    def width(self) -> int:
        """The maximum width of a line in cells."""
        return max(NARROWEST, min(self._console.width, WIDEST))

    def write(self, text: str, style: str = "", *, hang: int = 0) -> None:
        """Add text, which may end inside a word.

        Args:
            text: the text, with or without line ends.
            style: a style of rich.
            hang: the number of additional cells by which continuation lines are indented.
        """
        text = printable(text)
        self._hang = hang
        if not self._wraps:
            if text:
                self._pieces.append((text, style))
                self._begun = not text.endswith("\n")
            return
        for piece in WORDS.findall(text):
            if piece == "\n":
                self._end_word()
                self._end_line()
            elif piece.isspace():
                self._end_word()
                # Spaces beyond the width of a line change nothing, and a stream may contain any
                # number of them.
                self._space = (self._space + piece.replace("\t", " " * 4))[:WIDEST]
            else:
                self._grow_word(piece, style)

    def may_break(self) -> None:
        """End the line here if this writer wraps words."""
        if self._wraps:
            self._end_word()
            self._end_line(continues=True)

    def end_line(self) -> None:
        """End the current line if it contains any text."""
        self._end_word()
        if self._begun:
            self._end_line()
        self._space = ""
        self._continues = False

    def line(self, text: str, style: str = "") -> None:
        """Write text as a separate line, and cut the text if it is too long."""
        self.end_line()
        available = self.width - GUTTER
        self._pieces.append((" " * GUTTER + one_line(text, available) + "\n", style))

    def flush(self) -> None:
        """Print the text that was written since the last call, except an incomplete word."""
        if not self._pieces:
            return
        if self._wraps:
            runs = itertools.groupby(self._pieces, lambda piece: piece[1])
            text = Text.assemble(*(("".join(t for t, _ in run), style) for style, run in runs))
            self._console.print(text, end="", soft_wrap=True)
        else:
            # Written directly, because rich would expand tabs.
            self._console.file.write("".join(text for text, _ in self._pieces))
            self._console.file.flush()
        self._pieces.clear()

    def _end_line(self, *, continues: bool = False) -> None:
        self._pieces.append(("\n", ""))
        self._column = 0
        self._begun = False
        self._continues = continues
        self._space = ""

    def _grow_word(self, piece: str, style: str) -> None:
        # A word that is wider than a line is cut. The places of the cuts do not depend on the
        # pieces in which the word arrived.
        fits = self._word_width + cell_len(piece) <= self._room
        for part in [piece] if fits else piece:
            width = cell_len(part)
            if self._word_width + width > self._room:
                self._end_word()
            self._word.append((part, style))
            self._word_width += width

    @property
    def _first_indent(self) -> int:
        return min(GUTTER + len(self._space), self.width // 2)

    @property
    def _room(self) -> int:
        """The maximum width of a word in cells."""
        continues = self._begun or self._continues
        return self.width - (self._indent if continues else self._first_indent)

    def _end_word(self) -> None:
        if not self._word:
            return
        if not self._begun and not self._continues:
            # Continuation lines are indented like the first line.
            self._begin(self._first_indent)
            self._indent = min(self._column + self._hang, self.width // 2)
        elif self._column + len(self._space) + self._word_width > self.width:
            self._end_line(continues=True)
        else:
            self._put(self._space, self._word[0][1])
        self._space = ""
        for text, style in self._word:
            self._put(text, style)
        self._word.clear()
        self._word_width = 0

    def _begin(self, indent: int) -> None:
        self._pieces.append((" " * indent, ""))
        self._column = indent
        self._begun = True

    def _put(self, text: str, style: str) -> None:
        if not self._begun:
            self._begin(self._indent)
        self._pieces.append((text, style))
        self._column += cell_len(text)


class Show:
    """The live view of one stream.

    Args:
        console: the console to print to.
        verbose: whether to also show pings, signatures, unknown data and violations.
    """

    def __init__(self, console: Console, *, verbose: bool = False) -> None:
        self._console = console
        self._verbose = verbose
        self._writer = Writer(console)
        # The index of the block that the last line belongs to. Then data by the index of a block.
        self._current: int | None = None
        self._names: dict[int, str] = {}
        self._styles: dict[int, str] = {}
        self._layouts: dict[int, Layout] = {}
        self._citations: dict[int, list[Citation]] = {}

    def add(self, result: FrameResult) -> None:
        """Show the newest result."""
        if result.event is not None:
            self._event(result.event)
        if self._verbose:
            for violation in result.violations:
                self._note(f"! {violation.code}: {violation.message}", TROUBLE)
        self._writer.flush()

    def end(self) -> None:
        """Finish the last line."""
        self._writer.end_line()
        self._writer.flush()

    def _event(self, event: WireObject) -> None:
        match event:
            case ContentBlockDeltaEvent(index=index, delta=delta):
                self._turn_to(index)
                self._delta(index, delta)
            case ContentBlockStartEvent(index=index, content_block=block):
                self._start(index, block)
            case ContentBlockStopEvent(index=index, content_block=block):
                self._stop(index, block)
            case MessageStartEvent(message=message):
                self._writer.line(f"{message.model or '?'}  {message.id or ''}", NOTE)
                for index, block in enumerate(message.content):
                    self._start(index, block)
                    self._stop(index, block)
            case ErrorEvent():
                kind = event.error_type or "error"
                self._note(f"The server sent an error: {kind}: {event.message}", FAILURE)
            case PingEvent():
                if self._verbose:
                    self._note("ping", NOTE)
            case UnknownEvent(wire_type=kind):
                if self._verbose:
                    sent = to_json(event.to_dict()) if event.raw is None else event.raw
                    self._note(f"unknown event {kind}: {sent}", NOTE)
            case MessageDeltaEvent() | MessageStopEvent():
                pass  # the table at the end shows their content
            case _:
                if self._verbose:
                    self._note(f"event: {to_json(event.to_dict())}", NOTE)

    # Blocks.

    def _start(self, index: int, block: ContentBlock) -> None:
        name = one_line(name_of(block), 48)
        self._heading(index, name, style_of(block))
        self._names[index] = name
        is_dim = isinstance(block, (ThinkingBlock, CompactionBlock))
        self._styles[index] = THOUGHTS if is_dim else ""
        self._layouts[index] = Layout()
        self._citations[index] = []
        match block:
            case TextBlock(text=text, citations=citations):
                self._citations[index] += citations or ()
                self._writer.write(text)
            case ThinkingBlock(thinking=text):
                self._writer.write(text, THOUGHTS)
            case CompactionBlock(content=text):
                self._writer.write(text or "", THOUGHTS)
            case RedactedThinkingBlock(data=data):
                self._writer.line(f"{len(data or ''):,} encrypted characters", NOTE)
            case FallbackBlock(from_=before, to=after):
                models = [(side or {}).get("model", "?") for side in (before, after)]
                self._writer.line(f"from {models[0]} to {models[1]}", NOTE)
            case _ if is_call(block):
                pass  # the input is shown while it grows, or when the block stops
            case _:
                content = block.to_dict()
                if line := digest(content):
                    self._writer.line(line, FAILURE if block_failed(content) else "")

    def _stop(self, index: int, block: ContentBlock | None) -> None:
        if isinstance(block, InputBlock):
            value = getattr(block, "input", None)
            if not block.input_json and value is not None:
                self._turn_to(index)
                self._grow(index, to_json(value))
            if block.input_error is not None:
                error = block.input_error
                self._note(
                    f"The input is not valid JSON: {error.reason} at {error.position}", FAILURE
                )
        for citation in self._citations.pop(index, ()):
            self._writer.line(source_of(citation), "blue")
        self._writer.end_line()
        self._current = None

    def _delta(self, index: int, delta: ContentBlockDelta) -> None:
        match delta:
            case InputJSONDelta(partial_json=text):
                self._grow(index, text)
            case CitationsDelta(citation=citation):
                self._citations.setdefault(index, []).append(citation)
            case UnknownDelta():
                if self._verbose:
                    self._note(f"unknown delta: {to_json(delta.to_dict())}", NOTE)
            case _:
                for name, value in delta.to_dict().items():
                    if name not in HIDDEN and value is not None:
                        self._member(index, name, value)

    def _member(self, index: int, name: str, value: object) -> None:
        """Show a member of a delta. A readable text continues the text of its block."""
        if not isinstance(value, str):
            if self._verbose:
                self._note(f"{name} {digest_of(value)}", NOTE)
        elif not is_encrypted(name):
            self._writer.write(value, self._styles.get(index, ""))
        elif self._verbose:
            self._note(f"{name}, {len(value):,} characters", NOTE)

    def _grow(self, index: int, fragment: str) -> None:
        for text, role in self._layouts.setdefault(index, Layout()).feed(fragment):
            if role is Role.BREAK:
                self._writer.may_break()
            else:
                self._writer.write(text, STYLES[role], hang=GUTTER)

    # Lines between blocks.

    def _heading(self, index: int, name: str, style: str) -> None:
        self._writer.end_line()
        self._writer.flush()
        title = Text.assemble((f"{index} ", "dim"), (one_line(name, 60), style))
        self._console.print()
        self._console.print(Rule(title, align="left", style="dim"), width=self._writer.width)
        self._current = index

    def _turn_to(self, index: int) -> None:
        """Print a heading if the last line belongs to another block."""
        if self._current != index:
            self._heading(index, f"{self._names.get(index, '')} (continued)", "dim")

    def _note(self, text: str, style: str) -> None:
        self._writer.line(text, style)


def name_of(block: ContentBlock) -> str:
    """Return the type of a block, followed by the name of the tool if the block is a call."""
    kind = type_of(block)
    if not is_call(block):
        return kind
    names = [getattr(block, name) or "?" for name in TOOL_NAMES if hasattr(block, name)]
    return f"{kind} {'/'.join(names)}" if names else kind


TOOL_NAMES: Final = ("server_name", "name")
"""The members of a call that identify the tool."""


def style_of(block: ContentBlock) -> str:
    if is_call(block):
        return "bold cyan"
    match block:
        case TextBlock():
            return "bold green"
        case ThinkingBlock() | RedactedThinkingBlock():
            return "bold magenta"
        case _:
            return "bold blue"


def source_of(citation: Citation) -> str:
    """Return the source of a citation and the cited text."""
    sent = citation.to_dict()
    names = (sent.get(name) for name in ("title", "document_title", "url", "source"))
    places = [name for name in names if isinstance(name, str)]
    words = sent.get("cited_text")
    quoted = f" “{words.strip()}”" if isinstance(words, str) else ""
    return f"[{' | '.join(places) or sent.get('type')}]{quoted}"


def block_failed(block: dict[str, Any]) -> bool:
    """Whether a tool result reports that the tool failed."""
    content = block.get("content")
    return block.get("is_error") is True or (isinstance(content, dict) and "error_code" in content)


# The members of a block that say nothing to a person. They are not shown.
HIDDEN: Final = {"type", "id", "tool_use_id", "caller", "citations"}


def is_encrypted(name: str) -> bool:
    """Whether the name of a member shows that its text is encrypted or a signature."""
    return name == "signature" or name.startswith("encrypted_")


def digest(block: dict[str, Any]) -> str:
    """Return a summary of a block, or "" if the block is still empty.

    The view shows it for blocks that arrive as a whole, such as tool results.
    """
    members = {
        name: value
        for name, value in block.items()
        if name not in HIDDEN and value is not None and value != ""
    }
    if members.keys() == {"content"}:
        return digest_of(members["content"])
    return digest_of(members)


def digest_of(value: Any) -> str:
    match value:
        case str():
            return " ".join(value[:200].split())
        case [*items]:
            known = [label for item in items if (label := item_name(item))]
            return f"{len(items)} items" + (f": {'; '.join(known)}" if known else "")
        case dict():
            members = cast("dict[str, Any]", value)
            return ", ".join(
                f"{name} {digest_of(member)}"
                for name, member in members.items()
                if name not in HIDDEN and not is_encrypted(name)
            )
        case _:
            return to_json(value)


def item_name(item: Any) -> str:
    """Return a short name for one of several results, or "" if it has none."""
    if isinstance(item, dict):
        members = cast("dict[str, Any]", item)
        for name in ("title", "tool_name", "name", "text", "file_id", "url"):
            if isinstance(label := members.get(name), str):
                return label[:80]
    return ""
