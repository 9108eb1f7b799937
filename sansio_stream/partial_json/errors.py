"""The errors of invalid JSON texts: what is wrong, and where."""

__all__ = ["InvalidJSONError"]


class InvalidJSONError(ValueError):
    """A text is not one complete JSON text (RFC 8259).

    Attributes:
        reason: what is wrong, as a clause for people.
        position: where it is wrong, in code points from the start of the text.
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
    """A text nests deeper than the limit. It may be valid JSON otherwise."""
