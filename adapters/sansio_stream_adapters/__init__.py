"""Adapters: where the bytes of a stream come from. The protocol is in `sansio_stream`.

Importing this package imports no HTTP library; each adapter is a module of its own.
The exceptions are those of `sansio_stream.errors`, unchanged, so one `except` serves both packages.
"""

from sansio_stream.errors.exceptions import *  # noqa: F403
from sansio_stream.errors.exceptions import __all__ as __all__
