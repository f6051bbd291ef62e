"""The label-free alarm: what it says of curves, and which measurement it goes back to."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from panda_core.events import Evaluated
from panda_core.methods.alarm import (
    ADAPTING,
    COLLAPSING,
    KEPT,
    PLATEAU,
    alarm,
    stopped_at,
)
from panda_core.methods.stopping import used_checkpoints


def told(overlaps: Sequence[float | None]) -> list[Evaluated]:
    """Return measurements with these shares of neighbours kept, each with what the alarm says of those until then."""
    found: list[Evaluated] = []
    for place, share in enumerate(overlaps):
        event = Evaluated(
            step=place, images_seen=8 * place, auroc=None, auroc_low=None, auroc_high=None, center_auroc=None,
            spread=1.0, normal_ratio=None, anomalous_ratio=None, effective_rank=9.0, alarm="", seconds=0.1,
            neighbour_overlap=share,
        )  # fmt: skip
        object.__setattr__(event, "alarm", alarm([*found, event]))
        found.append(event)
    return found


def words(overlaps: Sequence[float | None]) -> list[str]:
    return [event.alarm for event in told(overlaps)]


def test_lost_neighbourhoods_are_a_collapse() -> None:
    """An alarm that stays silent while images get other neighbours, or a stop before or after it."""
    found = told([1.0, 0.8, KEPT + 0.01, KEPT - 0.01, 0.2])
    assert [event.alarm for event in found] == [ADAPTING] * 3 + [COLLAPSING] * 2
    assert stopped_at(found) == 3
    assert used_checkpoints(found, "alarm", None) == [found[0], found[3]]


def test_a_run_that_keeps_its_neighbourhoods_is_left_alone() -> None:
    """An alarm at features that change a little, or swing."""
    found = told([1.0, 0.9, 0.95, 0.85, 0.92, 0.8])
    assert {event.alarm for event in found} == {ADAPTING}
    assert stopped_at(found) == 5


def test_standing_still_is_a_plateau() -> None:
    """Endless "adapting" where nothing happens any more; a plateau called before anything has happened."""
    assert words([1.0, 0.9, 0.85, 0.849, 0.848]) == [ADAPTING] * 3 + [PLATEAU] * 2
    assert words([1.0, 1.0, 1.0, 0.999]) == [ADAPTING] * 4


def test_a_plateau_at_the_bottom_is_not_healthy() -> None:
    """A collapsed run that stands still and is called healthy; an alarm that is taken back."""
    assert words([1.0, 0.3, 0.3, 0.3, 0.9])[1:] == [COLLAPSING] * 4


def test_a_run_of_one_measurement_has_one_network() -> None:
    """The unadapted network that is asked twice."""
    found = told([1.0])
    assert stopped_at(found) == 0 and used_checkpoints(found, "alarm", None) == found


def test_measurements_of_older_versions_say_nothing() -> None:
    """A resumed run of an older version that ends in an error."""
    assert words([None, None, 0.9]) == [ADAPTING] * 3


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_it_stops_at_the_first_alarm_or_at_the_end(overlaps: list[float]) -> None:
    """Scores of a network further into its collapse than the alarm."""
    found = told([1.0, *overlaps])
    place = stopped_at(found)
    assert all(event.alarm != COLLAPSING for event in found[:place])
    assert found[place].alarm == COLLAPSING or place == len(found) - 1
