"""Objects of other libraries: an object of the official SDK or a pydantic model in, JSON out.

This module imports neither library. It knows their objects by the methods that they have.
"""

from typing import Any

from ..codec import is_object
from ..payloads import message_from_dict
from .paths import RefusedError

__all__: list[str] = []

SDK = "anthropic"
"""The package of the official SDK."""


def json_of_foreign(value: Any) -> Any:
    """Return the JSON value of an object of the official SDK or of a pydantic model.

    A message of the SDK becomes a `Message`, so that it is sent as its role and its content.

    Raises:
        RefusedError: if `value` is any other object, or if it cannot be written as JSON.
    """
    # The class of a model has the method, too, but it is no value.
    dump = None if isinstance(value, type) else getattr(value, "model_dump", None)
    if not callable(dump):
        raise RefusedError(TypeError, f"{type(value).__name__} cannot be written as JSON")
    try:
        to_dict = getattr(value, "to_dict", None) if is_of_sdk(value) else None
        if to_dict is None:
            return dump(mode="json", by_alias=True)
        # `model_dump` would add each member that the server has not sent, as null.
        written = to_dict(mode="json")
    except ValueError as error:
        raise RefusedError(ValueError, f"{type(value).__name__}: {error}") from None
    if is_object(written) and written.get("type") == "message":
        return message_from_dict(written)
    return written


def is_of_sdk(value: object) -> bool:
    """Whether the official SDK has defined the class of an object or one of its base classes."""
    packages = {cls.__module__.partition(".")[0] for cls in type(value).__mro__}
    return SDK in packages
