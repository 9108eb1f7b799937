"""Observes a recorded stream while it is read. The report is the one that `report_of` returns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sansio_stream.observer import Observer

if TYPE_CHECKING:
    from sansio_stream.capture import CaptureEnd, CaptureHeader
    from sansio_stream.errors import Limits

__all__ = ["observe_end", "observer_of"]


def observer_of(header: CaptureHeader, *, limits: Limits | None, stall: float) -> Observer:
    """Return the observer of a recorded stream. A stream without a status counts as a 200."""
    return Observer(header.status or 200, header.headers, limits=limits, stall=stall)


def observe_end(observer: Observer, end: CaptureEnd | None) -> None:
    """Tell an observer how the body ended. None means that the recording was cut off."""
    if end is not None:
        observer.end(None if end.error is None else ConnectionError(end.error), end.at)
