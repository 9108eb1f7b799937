"""A message to JSON text and back, with all that it knows: for databases, logs and queues.

`Message.to_dict()` is what the API takes: it leaves out what is not on the wire. Here that is kept
beside it: whether the message is complete, the deltas that no rule could fold, and of each tool
input its text, its state and what was wrong with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from .codec import decode, evolve, is_array, is_object
from .encode import encode_json
from .errors import printable
from .message import InputBlock, Message, tool_input_of
from .partial_json import loads
from .payloads import delta_from_dict
from .tool_input import ToolInput

if TYPE_CHECKING:
    from .message import ContentBlock

__all__ = ["message_from_json", "message_to_json"]

FORMAT: Final = "sansio-stream message"
VERSION: Final = 1
DEPTH: Final = 1_000
"""How deep the text may nest: deeper than any message that the default limits let in."""


def message_to_json(message: Message) -> str:
    """Return a message as JSON text, on one line: an object with its wire form as `message`.

    `message_from_json` gives back an equal message, which answers all questions as this one does.
    Raises ValueError for what JSON cannot hold: a number that is infinite.
    """
    blocks = {
        str(place): kept for place, block in enumerate(message.content) if (kept := off_wire(block))
    }
    return encode_json(
        {
            "format": FORMAT,
            "version": VERSION,
            "complete": message.complete,
            "message": message.to_dict(),
            "blocks": blocks,
        }
    )


def message_from_json(text: str) -> Message:
    """Return the message that `message_to_json` has written.

    Raises ValueError for any other text, `InvalidJSONError` where it is not JSON.
    """
    stored = loads(text, DEPTH)
    if not is_object(stored) or (stored.get("format"), stored.get("version")) != (FORMAT, VERSION):
        raise ValueError(f"a JSON object of the format {FORMAT!r}, version {VERSION}, is needed")
    try:
        message = decode(Message, stored["message"])
        content = list(message.content)
        for place, kept in stored["blocks"].items():
            content[int(place)] = restored(content[int(place)], kept)
        # Not by `copy_with`: what the wire had in the place of `content` stays.
        return evolve(message, content=tuple(content), complete=stored["complete"] is True)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        flaw = printable(repr(error))
        raise ValueError(f"a message that was stored is damaged: {flaw}") from error


def off_wire(block: ContentBlock) -> dict[str, Any]:
    """Return what a block knows and does not write on the wire; nothing for most."""
    kept: dict[str, Any] = {}
    if block.unfolded:
        kept["unfolded"] = [delta.to_dict() for delta in block.unfolded]
    if isinstance(block, InputBlock) and (tool_input := tool_input_of(block)) is not None:
        kept["input"] = tool_input.to_dict()
    return kept


def restored(block: ContentBlock, kept: dict[str, Any]) -> ContentBlock:
    """Return a block with what `off_wire` has kept of it."""
    unfolded = kept.get("unfolded", [])
    if is_array(unfolded) and unfolded:
        block = evolve(block, unfolded=tuple(map(delta_from_dict, unfolded)))
    if isinstance(block, InputBlock) and "input" in kept:
        value = block.to_dict().get("input")
        block = evolve(block, tool_input=ToolInput.from_dict(kept["input"], value))
    return block
