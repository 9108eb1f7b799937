"""What is wrong with a text, and where."""

__all__ = ["InvalidJSONError"]


class InvalidJSONError(ValueError):
    """A text is not one whole JSON text (RFC 8259): the `reason`, and its `position`.

    The position counts code points from the start of the text.
    """

    reason: str
    position: int

    def __init__(self, reason: str, position: int) -> None:
        super().__init__(reason, position)
        self.reason = reason
        self.position = position

    def __str__(self) -> str:
        return f"{self.reason} (at character {self.position})"


class TooDeepError(InvalidJSONError):
    """A text that may be good JSON, but nests deeper than it was allowed to."""
