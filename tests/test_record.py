"""Records: made once from their values, by place or by name, then fixed."""

from __future__ import annotations

import pytest

from rhubarbe.record import Record


class Place(Record):
    """Where something is."""

    rack: int
    slot: int = 1
    note: str = ""


def test_values_are_given_by_place_or_by_name():
    place = Place(7, 3, note="low")
    assert (place.rack, place.slot, place.note) == (7, 3, "low")
    assert Place(note="low", slot=3, rack=7) == place
    assert Place(7) == Place(7, 1, "")


def test_records_are_equal_when_class_and_values_are():
    class Other(Record):
        rack: int
        slot: int = 1
        note: str = ""

    assert hash(Place(7)) == hash(Place(rack=7))
    assert len({Place(7), Place(7, 1), Place(8)}) == 2
    assert Place(7) != Place(7, 2)
    assert Place(7) != Other(7)
    assert Place(7) != (7, 1, "")
    assert repr(Place(7)) == "Place(rack=7, slot=1, note='')"


@pytest.mark.parametrize(
    ("values", "named", "said"),
    [
        ((7,), {"solt": 1}, "Place has no solt"),
        ((), {"slot": 1}, "Place needs rack"),
        ((7,), {"rack": 7}, "Place takes rack, slot, note, each once"),
        ((7, 1, "", 2), {}, "Place takes rack, slot, note, each once"),
    ],
)
def test_other_values_are_refused(values, named, said):
    with pytest.raises(TypeError, match=said):
        Place(*values, **named)


def test_what_was_given_stays():
    place = Place(7)
    for name in ("rack", "other"):
        with pytest.raises(AttributeError, match=f"Place.{name} cannot be set"):
            setattr(place, name, 8)
    assert place == Place(7)
