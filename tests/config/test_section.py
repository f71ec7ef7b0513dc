"""Sections: declared once, read once, then fixed."""

import pytest

from rhubarbe.config.section import Section, Setting, ValueKind, setting, text_of

COUNT = ValueKind("a number", int)


class Networks(Section):
    """[networks]: a section."""

    ports: int = setting(COUNT, 80, "a setting")
    name: str = setting(ValueKind("text", str), "fit", "another")


def test_what_is_not_given_has_its_default():
    assert (Networks().ports, Networks(ports=8080).ports, Networks(ports=8080).name) == (
        80,
        8080,
        "fit",
    )


def test_sections_are_equal_when_their_values_are():
    assert Networks(ports=80) == Networks()
    assert hash(Networks(ports=80)) == hash(Networks())
    assert Networks(ports=81) != Networks()
    assert Networks() != (80, "fit")
    assert repr(Networks()) == "Networks(ports=80, name='fit')"


def test_values_have_names():
    with pytest.raises(TypeError):
        Networks(80)


def test_what_is_declared_can_be_looked_up():
    assert list(Networks.declared()) == ["ports", "name"]
    assert Networks.declared()["ports"] == Setting(COUNT, 80, "a setting")


def test_what_was_not_declared_is_refused():
    with pytest.raises(TypeError, match="prots"):
        Networks(prots=1)


def test_what_was_read_stays():
    networks = Networks()
    with pytest.raises(AttributeError):
        networks.ports = 1
    assert networks.ports == 80


@pytest.mark.parametrize(
    ("value", "text"), [(True, "yes"), (False, "no"), (60.0, "60"), (0.25, "0.25"), (3, "3")]
)
def test_values_are_written_as_they_are_read(value, text):
    assert text_of(value) == text
