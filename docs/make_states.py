"""Generates the tables of states.md from the table in `sansio_stream.transitions`.

`python docs/make_states.py` writes the tables into the page. A test compares the two.
"""

from pathlib import Path
from typing import Final

import tables
from sansio_stream.errors import Verdict
from sansio_stream.outcome import VERDICTS
from sansio_stream.transitions import STATES, TRANSITIONS, Action, Decision, State
from tables import table

PAGE: Final = Path(__file__).with_name("states.md")

DECIDED: Final = {
    State.DONE: (Verdict.COMPLETE,),
    State.FAILED: (Verdict.ERRORED, Verdict.BROKEN),
}
"""The states whose verdict is already fixed before the stream ends."""

WORDS: Final = {Action.APPLY: "apply", Action.IGNORE: "skip", Action.ABORT: "fatal"}


def words(decision: Decision | None, state: State) -> str:
    """Return the text of a cell: what the machine does with an event in a state."""
    if decision is None:
        return "cannot happen"
    if decision.state not in (None, state):
        done = f"→ {decision.state.name}"
    else:
        done = WORDS[decision.action]
    name = decision.flaws[0].code if decision.flaws else decision.code
    return f"{done}, `{name}`" if name else done


def states() -> str:
    """Return the table of states with their meanings."""
    return table(("state", "meaning"), *((f"`{state.name}`", state.value) for state in STATES))


def steps() -> str:
    """Return the table of what the machine does with each kind of event in each state."""
    return table(
        ("", *(f"`{state.name}`" for state in STATES)),
        *(
            (step.value, *(words(*cell) for cell in zip(row, STATES, strict=True)))
            for step, row in TRANSITIONS.items()
        ),
    )


def ends() -> str:
    """Return the table of the verdict that each state leads to at the end of the stream."""
    return table(
        ("state", "verdict", "meaning"),
        *(
            (f"`{state.name}`", f"`{verdict.name}`", verdict.value)
            for state in STATES
            for verdict in DECIDED.get(state) or (VERDICTS[state],)
        ),
    )


TABLES: Final = {make.__name__: make for make in (states, steps, ends)}


def made(page: str) -> str:
    """Return the page with its tables generated anew."""
    return tables.made(page, lambda name: TABLES[name]())


if __name__ == "__main__":
    PAGE.write_text(made(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
