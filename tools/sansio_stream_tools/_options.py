"""The options that several subcommands share. This module reads and checks their values."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import attrs
import click

from sansio_stream.errors import Limits
from sansio_stream_adapters._cut import sizes_from

from .sources import SourceLimits

__all__ = [
    "EXIT_STATUS",
    "ReadLimits",
    "arrival_option",
    "limit_option",
    "read_speed",
    "reading_options",
    "save_options",
    "stall_option",
]

EXIT_STATUS: Final = """
\b
Exit status:
  0    the stream gave a usable message
  1    it gave no usable message: it was cut or broken, or
       contained an error (with --strict: any violation)
  2    a file cannot be read or written, or the usage
       is wrong
  130  the command was interrupted

If several files are given, the status is the highest one.
"""
"""The end of the help of the subcommands that show streams."""

AnyFunction = TypeVar("AnyFunction", bound=Callable[..., Any])

DEFAULT_STALL: Final = 2.0
"""The default of `--stall` in seconds. An `Observer` has the same default."""

DEEPEST: Final = 400
"""The highest value of the limit `depth`. Above about 490, CPython's own limits would apply."""

LIMIT: Final = re.compile(r"(?P<name>\w+)=(?:(?P<number>[0-9]{1,18})(?P<unit>[KMG]i?B)?|none)")
UNITS: Final = {"K": 10, "M": 20, "G": 30}
UNBOUNDED: Final = frozenset({"total_bytes"})
"""The limits whose value may be `none`."""


@attrs.frozen
class ReadLimits:
    """The bounds on what is read from one file, and from one stream of it.

    Attributes:
        source: the bounds on the file.
        machine: the bounds on the stream.
    """

    source: SourceLimits = attrs.field(factory=SourceLimits)
    machine: Limits = attrs.field(factory=Limits)


LIMIT_NAMES: Final = tuple(
    field.name for limits in (Limits, SourceLimits) for field in attrs.fields(limits)
)


def read_limits(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> ReadLimits:
    """Return the limits that `--limit NAME=VALUE` sets. The last value of a name counts.

    Raises BadParameter for an unknown name, and for a value that the limit cannot have.
    """
    given = dict(map(read_limit, values))

    def own(limits: type) -> dict[str, Any]:
        names = {field.name for field in attrs.fields(limits)}
        return {name: value for name, value in given.items() if name in names}

    return ReadLimits(SourceLimits(**own(SourceLimits)), Limits(**own(Limits)))


def read_limit(text: str) -> tuple[str, int | None]:
    """Return the name and the value of one limit. None means that there is no bound."""
    match = LIMIT.fullmatch(text)
    if match is None:
        raise click.BadParameter(
            f"{text!r} does not have the form NAME=VALUE; VALUE is a whole number, optionally"
            " with the unit KiB, MiB or GiB"
        )
    name, number, unit = match["name"], match["number"], match["unit"]
    if name not in LIMIT_NAMES:
        raise click.BadParameter(f"{name} is not a limit. The limits are {', '.join(LIMIT_NAMES)}")
    if number is None:
        if name not in UNBOUNDED:
            raise click.BadParameter(f"the limit {name} needs a number")
        return name, None
    if unit is not None and not name.endswith("_bytes"):
        raise click.BadParameter(f"the limit {name} has no unit")
    value = int(number) << (UNITS[unit[0]] if unit else 0)
    if name == "depth" and value > DEEPEST:
        raise click.BadParameter(f"the limit depth is at most {DEEPEST}")
    return name, value


def reading_options(function: AnyFunction) -> AnyFunction:
    """Add `--cut` and `--strict`, which say how a machine reads the stream."""
    strict = click.option("--strict", is_flag=True, help="Make nearly every violation fatal.")
    cut = click.option(
        "--cut",
        callback=read_cut,
        metavar="SIZE|bytes|random:SEED",
        help="Cut the body into other chunks. This must not change the events.",
    )
    return cut(strict(function))


def limit_option(function: AnyFunction) -> AnyFunction:
    """Add `--limit`. The command gets its values as `limits`, a `ReadLimits`."""
    return click.option(
        "--limit",
        "limits",
        multiple=True,
        callback=read_limits,
        metavar="NAME=VALUE",
        help=f"Change a limit: {', '.join(LIMIT_NAMES)}. Example: decoded_bytes=4GiB."
        " May be repeated.",
    )(function)


def read_stall(_: click.Context, __: click.Parameter, value: float) -> float:
    """Return the value of `--stall`. Raises BadParameter if it is negative or not finite."""
    if not 0 <= value < math.inf:
        raise click.BadParameter(f"{value} is not a finite number of seconds, 0 or more")
    return value


def stall_option(function: AnyFunction) -> AnyFunction:
    """Add `--stall`. The command gets its value as `stall`, in seconds."""
    return click.option(
        "--stall",
        type=float,
        default=DEFAULT_STALL,
        show_default=True,
        callback=read_stall,
        metavar="SECONDS",
        help="A pause without content that is longer than this is a stall.",
    )(function)


def arrival_option(function: AnyFunction) -> AnyFunction:
    """Add `--arrival-times`. The command gets its value as `arrival_times`."""
    return click.option(
        "--arrival-times",
        is_flag=True,
        help="Take the time at which each chunk arrives here, if the file has no times."
        " For a body that comes through a pipe, as from curl -N.",
    )(function)


def save_options(function: AnyFunction) -> AnyFunction:
    """Add `--save` and `--force`. The command gets `save`, a path or None, and `force`."""
    force = click.option("--force", is_flag=True, help="Replace the file of --save if it exists.")
    save = click.option(
        "--save",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Also write the stream to a capture. Implies --arrival-times.",
    )
    return save(force(function))


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
