"""Strategies: what hypothesis needs to make streams in which something goes wrong, each with what
must come of it.
"""

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
    """Return chunks as a person reads them: a line each, and no more than one can take in."""
    lines: list[str] = []
    for chunk in chunks[:20]:
        line, room = repr(chunk), 8_000 // min(len(chunks), 20)
        lines.append(line if len(line) <= room else f"{line[:room]}... {len(chunk)} bytes")
    if len(chunks) > 20:
        lines.append(f"and {len(chunks) - 20} more")
    return "".join(f"\n    {line}" for line in lines)


@attrs.frozen(repr=False)
class FaultyStream:
    """A stream in which something went wrong, and what must come of it.

    Attributes:
        fault: what went wrong.
        data: the bytes that arrive.
        chunks: the same, as they arrive.
        exception: what the source raises after them, or None.
        verdict: how a `StreamMachine` ends; None where nobody can know.
        codes: what it says: codes of its violations, and of the error that is fatal.
        may: what it may say as well.
        inputs: by the id of each tool call of the client: the input that was meant.
        broken: ids of those that must be reported as broken.
        limits: of the machine that all this is true of.
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
        # hypothesis, like IPython, would show every member of an attrs class.
        printer.text(repr(self))


def is_possible(fault: Fault, limits: Limits | None) -> bool:
    """Whether streams with that fault can be made.

    It changes the bytes, and a limit that it exceeds must be given.
    """
    if fault.changes != "bytes":
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
    """Make streams in which something goes wrong: one of the faults with these names, or any.

    Args:
        names: keys of `FAULTS`, of faults that change the bytes. Without any, all of these, but
            those that exceed a limit only if that limit is not the default one.
        style: how they are written: with `event:` lines. By default in any such style.
        cut: whether they are cut, or arrive in one piece.
        limits: of the reader, for the faults that exceed one; others stay within the default ones.
            Large limits make large streams.
        of_scripts: as for `scripts`.
    """
    if style is not None and not style.event_names:
        raise ValueError("what must come of a fault is known for frames with `event:` lines")
    possible = names or [each.name for each in FAULTS.values() if is_possible(each, limits)]
    fault = FAULTS[draw(st.sampled_from(possible))]
    script = draw(scripts(having=fault.needs, **of_scripts))
    style = style or draw(styles(event_names=True))
    kept = (limits if fault.limit else None) or Limits()

    def choose(options: Sequence[Item]) -> Item:
        return draw(st.sampled_from(options))

    payloads = copy.deepcopy([event.to_dict() for event in script])
    damage = fault.damaged(LegalStream(payloads, style, kept, choose))
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
    """Return the inputs of the tool calls in a legal script, by id."""
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
