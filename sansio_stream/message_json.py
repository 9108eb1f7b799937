"""A message to JSON text and back without loss, for databases, logs and queues.

`Message.to_dict()` returns what the API accepts, which leaves out everything that is not on the
wire. The text of this module also has that rest: whether the message is complete, the deltas that
could not be folded, and the text, the state and the error of each tool input.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from .codec import decode, is_array, is_object
from .copies import evolve
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
MAX_DEPTH: Final = 1_000
"""How deep the text may nest. It is more than the default limits allow for any message."""


def message_to_json(message: Message) -> str:
    """Return a message as JSON text on one line.

    The text is an object. Its member `message` has the wire form of the message. From the text,
    `message_from_json` returns an equal message, and all its properties have the same values.

    Raises:
        ValueError: if JSON cannot represent a value of the message, such as an infinite number.
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

    Raises:
        InvalidJSONError: if the text is not JSON. It is a ValueError.
        ValueError: if the text is JSON, but not JSON that `message_to_json` has written.
    """
    stored = loads(text, MAX_DEPTH)
    if not is_object(stored) or (stored.get("format"), stored.get("version")) != (FORMAT, VERSION):
        raise ValueError(
            f"the text is not a JSON object of the format {FORMAT!r}, version {VERSION}"
        )
    try:
        message = decode(Message, stored["message"])
        content = list(message.content)
        for place, kept in stored["blocks"].items():
            content[int(place)] = restored(content[int(place)], kept)
        # `copy_with` would drop the wire value of `content` if `_rest` keeps one (see `codec`).
        return evolve(message, content=tuple(content), complete=stored["complete"] is True)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        flaw = printable(repr(error))
        raise ValueError(f"the stored message is damaged: {flaw}") from error


def off_wire(block: ContentBlock) -> dict[str, Any]:
    """Return the parts of a block that its wire form leaves out. Most blocks have none."""
    kept: dict[str, Any] = {}
    if block.unfolded:
        kept["unfolded"] = [delta.to_dict() for delta in block.unfolded]
    if isinstance(block, InputBlock) and (tool_input := tool_input_of(block)) is not None:
        kept["input"] = tool_input.to_dict()
    return kept


def restored(block: ContentBlock, kept: dict[str, Any]) -> ContentBlock:
    """Return a block with the parts that `off_wire` returned for it."""
    unfolded = kept.get("unfolded", [])
    if is_array(unfolded) and unfolded:
        block = evolve(block, unfolded=tuple(map(delta_from_dict, unfolded)))
    if isinstance(block, InputBlock) and "input" in kept:
        value = block.to_dict().get("input")
        block = evolve(block, tool_input=ToolInput.from_dict(kept["input"], value))
    return block
