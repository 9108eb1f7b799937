"""The options that several subcommands share: their values are read and checked here."""

from __future__ import annotations

import math

import click

from sansio_stream_adapters._cut import sizes_from

__all__ = ["read_cut", "read_speed"]


def read_speed(_: click.Context, __: click.Parameter, value: str | None) -> float | None:
    """Return the value of `--speed` as a factor of the recorded speed. `max` is infinity.

    Raises BadParameter if the value is neither a number above 0 nor `max`.
    """
    if value is None:
        return None
    try:
        speed = math.inf if value == "max" else float(value)
    except ValueError:
        speed = math.nan
    if not speed > 0:
        raise click.BadParameter(f"{value!r} is neither a number above 0 nor 'max'")
    return speed


def read_cut(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    """Return the value of `--cut` unchanged. Raises BadParameter if it is not valid."""
    try:
        if value is not None:
            sizes_from(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error
    return value
