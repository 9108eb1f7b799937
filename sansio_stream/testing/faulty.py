"""Hypothesis strategies for streams with a fault, each with its correct outcome."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import attrs
from hypothesis import strategies as st

from ..errors import Limits, Verdict
from ..events import ContentBlockDeltaEvent, ContentBlockStartEvent, InputJSONDelta
from ..message import ToolUseBlock
from .catalogue import FAULTS, Fault, LegalStream
from .strategies import Script, cuts, scripts, styles

if TYPE_CHECKING:
    from .writing import Style

__all__ = ["FaultyStream", "faults"]

Item = TypeVar("Item")


def shown(chunks: Sequence[bytes]) -> str:
    """Return chunks in a readable form, one per line.

    At most 20 chunks and about 8,000 characters are shown.
    """
    lines: list[str] = []
    for chunk in chunks[:20]:
        line, width = repr(chunk), 8_000 // min(len(chunks), 20)
        lines.append(line if len(line) <= width else f"{line[:width]}... {len(chunk)} bytes")
    if len(chunks) > 20:
        lines.append(f"and {len(chunks) - 20} more chunks")
    return "".join(f"\n    {line}" for line in lines)


@attrs.frozen(repr=False)
class FaultyStream:
    """A stream with a fault, and its correct outcome.

    Attributes:
        fault: the fault.
        data: the bytes that arrive.
        chunks: the same bytes, as the chunks in which they arrive.
        exception: the exception that the source raises after the bytes, or None.
        verdict: the correct verdict of a `StreamMachine`; None if the fault does not determine it.
        codes: the codes that the machine must report: of its violations and of a fatal error.
        may: the codes that the machine may report as well.
        inputs: the correct inputs of the client's tool calls, by the id of the call.
        broken: the ids of the tool calls that must be reported as broken.
        limits: the limits of the machine to which the outcome applies.
    """

    fault: Fault
    data: bytes
    chunks: tuple[bytes, ...]
    exception: Exception | None
    verdict: Verdict | None
    codes: frozenset[str]
    may: frozenset[str]
    inputs: Mapping[str, Any]
    broken: frozenset[str]
    limits: Limits

    def __repr__(self) -> str:
        verdict = self.verdict.name if self.verdict else "any verdict"
        head = f"{self.fault.name}: {verdict}, {', '.join(sorted(self.codes)) or 'no codes'}"
        return f"<{head}{shown(self.chunks)}>"

    def _repr_pretty_(self, printer: Any, _cycle: bool) -> None:
        # hypothesis and IPython call this; otherwise they would show every member of the class.
        printer.text(repr(self))


def is_possible(fault: Fault, limits: Limits | None) -> bool:
    """Whether streams with this fault can be made.

    The fault must change the bytes. If it exceeds a limit, that limit must be in `limits`.
    """
    if fault.kind != "bytes":
        return False
    if not fault.limit:
        return True
    given: object = getattr(limits, fault.limit, None)
    return given not in (None, getattr(Limits(), fault.limit))


@st.composite
def faults(
    draw: st.DrawFn,
    /,
    *names: str,
    style: Style | None = None,
    cut: bool = True,
    limits: Limits | None = None,
    **of_scripts: Any,
) -> FaultyStream:
    """Make streams with one fault each.

    Args:
        names: the faults to choose from, as keys of `FAULTS`. They must change the bytes. By
            default all such faults, except those that exceed a limit which `limits` does not
            change.
        style: the style of the streams. It must have `event:` lines. By default any such style.
        cut: whether the streams are cut into chunks, or arrive in one piece.
        limits: the limits of the reader, for faults that exceed one. The streams of other faults
            stay within the default limits. Large limits make large streams.
        of_scripts: the arguments of `scripts`.

    Raises:
        ValueError: when an example is drawn, if `style` has no `event:` lines.
    """
    if style is not None and not style.event_names:
        raise ValueError("the outcome of a fault is known only for frames with `event:` lines")
    possible = names or [each.name for each in FAULTS.values() if is_possible(each, limits)]
    fault = FAULTS[draw(st.sampled_from(possible))]
    script = draw(scripts(having=fault.needs, **of_scripts))
    style = style or draw(styles(event_names=True))
    kept = (limits if fault.limit else None) or Limits()

    def choose(options: Sequence[Item]) -> Item:
        return draw(st.sampled_from(options))

    payloads = copy.deepcopy([event.to_dict() for event in script])
    damage = fault.apply_to_stream(LegalStream(payloads, style, kept, choose))
    chunks = draw(cuts(damage.data)) if cut else [damage.data]
    return FaultyStream(
        fault,
        damage.data,
        tuple(chunks),
        damage.exception,
        damage.verdict or (fault.verdicts[0] if len(fault.verdicts) == 1 else None),
        fault.codes.union(damage.codes),
        fault.may,
        {
            **{id: input for id, input in inputs_of(script).items() if id not in damage.altered},
            **damage.inputs,
        },
        frozenset(damage.broken),
        kept,
    )


def inputs_of(script: Script) -> dict[str, Any]:
    """Return the inputs of the client's tool calls in a legal script, by id."""
    texts: dict[int, str] = {}
    ids: dict[int, str] = {}
    for event in script:
        match event:
            case ContentBlockStartEvent(index=index, content_block=ToolUseBlock(id=str(id))):
                ids[index] = id
                texts[index] = ""
            case ContentBlockDeltaEvent(index=index, delta=InputJSONDelta(piece)) if index in ids:
                texts[index] += piece
            case _:
                pass
    return {id: json.loads(texts[index] or "{}") for index, id in ids.items()}
