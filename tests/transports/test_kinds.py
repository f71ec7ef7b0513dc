"""Which kind a node has, the inventory says: what is wrong there is told before it is used."""

import pytest

from rhubarbe.config.section import Section, setting
from rhubarbe.config.values import COUNT, TEXT
from rhubarbe.inventory import Driver
from rhubarbe.transports.kinds import ADDRESS, REQUIRED, Kinds
from rhubarbe.transports.netboot import NETBOOTS
from rhubarbe.transports.power import CONTROLS, KINDS, PowerControl


class Values(Section):
    """What a kind takes."""

    address: str = setting(ADDRESS, REQUIRED, "where")
    outlet: int = setting(COUNT, 1, "which")
    word: str = setting(TEXT, "", "what else")


class Strip:
    takes = Values


GOOD = {"address": "192.0.2.1"}
TABLE = Kinds("power", {"strip": f"{__name__}.Strip", "cmc": KINDS["cmc"]})


@pytest.fixture(autouse=True)
def _is_found(monkeypatch):
    monkeypatch.setattr(TABLE, "named", {"strip": Strip}.__getitem__)


@pytest.mark.parametrize(
    ("said", "values"),
    [
        ({"address": "192.0.2.1"}, Values(address="192.0.2.1")),
        ({"address": "192.0.2.1", "outlet": 3}, Values(address="192.0.2.1", outlet=3)),
        ({"address": "192.0.2.1", "outlet": "3"}, Values(address="192.0.2.1", outlet=3)),
    ],
)
def test_values_are_read_as_those_of_the_configuration_are(said, values):
    driver = Driver("strip", said)
    assert list(TABLE.faults(driver)) == []
    assert TABLE.values(driver) == values


@pytest.mark.parametrize(
    ("kind", "said", "faults"),
    [
        ("sledge", {}, ["power: there is no kind 'sledge', but cmc, strip"]),
        ("strip", {}, ["power.address: expected an IPv4 address of one host, found nothing"]),
        (
            "strip",
            {"address": "pdu", "outlets": 3},
            [
                "power.address: expected an IPv4 address of one host, found 'pdu'",
                "power: strip knows no 'outlets', but address, outlet, word",
            ],
        ),
        *(
            (
                "strip",
                {"address": address},
                [f"power.address: expected an IPv4 address of one host, found '{address}'"],
            )
            for address in ("224.0.0.1", "255.255.255.255", "0.0.0.0")
        ),
        *(
            (
                "strip",
                {"address": "192.0.2.1", "outlet": value},
                [f"power.outlet: expected a whole number from 1 on, found {value!r}"],
            )
            for value in (0, "", "three", 1.5, True, None, float("inf"))
        ),
        *(
            (
                "strip",
                {"address": value},
                [f"power.address: expected an IPv4 address of one host, found {found}"],
            )
            for value, found in ((["s3cr3t"], "a list"), ({"password": "s3cr3t"}, "an object"))
        ),
    ],
)
def test_whatever_is_wrong_is_one_line(kind, said, faults):
    assert list(TABLE.faults(Driver(kind, said))) == faults


@pytest.mark.parametrize("text", ["/srv/\0tftp", "/srv/\ud800"])
def test_what_no_file_can_be_called_is_refused_before_it_is_used(text):
    said = {"config_dir": text}
    (fault,) = NETBOOTS.faults(Driver("pxelinux", said))
    assert fault == f"netboot.config_dir: expected a path, or nothing, found {text!r}"
    (fault,) = NETBOOTS.faults(Driver("pxelinux", {"entry": text}))
    assert fault.startswith("netboot.entry: expected the name of a file in config_dir, found ")


@pytest.mark.parametrize(
    ("kind", "said"),
    [("x" * 9999, {}), ("cmc", {"address": "x" * 9999}), ("cmc", GOOD | {"x" * 9999: 1})],
)
def test_what_has_no_end_is_not_quoted_to_its_end(kind, said):
    (fault,) = CONTROLS.faults(Driver(kind, said))
    assert len(fault) < 200
    assert "xxx…" in fault


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_the_table_is_one(kind):
    control = CONTROLS.named(kind)
    assert PowerControl in control.__mro__
    assert not control.__abstractmethods__
    assert issubclass(control.takes, Section)


@pytest.mark.parametrize("entry", ["../other", "a/b", "/etc/passwd", "..", "."])
def test_a_boot_entry_is_a_name(entry):
    (fault,) = NETBOOTS.faults(Driver("pxelinux", {"entry": entry}))
    assert fault.startswith("netboot.entry: expected the name of a file in config_dir, found ")
