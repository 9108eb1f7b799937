"""Reading ordinary streams takes no more steps of Python than before.

The shortcuts for ordinary streams change no result, so no other test notices if one of them is no
longer taken.
"""

import pytest

import steps

pytestmark = pytest.mark.exhaustive

STORED = steps.stored().get(steps.VERSION, {})


@pytest.mark.skipif(not STORED, reason=f"no steps are stored for Python {steps.VERSION}")
@pytest.mark.parametrize("work", steps.WORK)
def test_reading_takes_no_more_steps_than_stored(work: str) -> None:
    # The same code takes the same steps in each process. The tolerance is for other releases of
    # attrs, whose methods take some steps more or less: 0.1 % of "many violations".
    assert steps.count(work) <= 1.0015 * STORED[work]


def test_each_work_has_a_stored_count_for_each_version() -> None:
    for counts in steps.stored().values():
        assert counts.keys() == steps.WORK.keys()
