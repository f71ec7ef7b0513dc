"""Outlets of PDUs by SNMP: the real programs of net-snmp, and its snmpd as the PDU."""

import asyncio
import socket

import pytest
from conformance import Machine, WithCredentials
from datagrams import DatagramConformance
from simulated import IP, made, served

from rhubarbe.config.settings import NetworkingSettings
from rhubarbe.errors import CardError, CardRefused, GatewayError
from rhubarbe.inventory import Driver
from rhubarbe.testbed.controls import outside, snmp
from rhubarbe.transports.power import CONTROLS
from rhubarbe.transports.power.makes import MAKES

# What configurations may stumble on; snmpd itself does on quotes.
PASSWORD = "all $HOME #%s;`id`"
VERSION_3 = {
    "version": 3,
    "user": snmp.USER,
    "password": PASSWORD,
    "privacy": PASSWORD,
    "authentication": "SHA-256",
}
VERSION_1 = {"community": PASSWORD}


def at(port, within=5, **said):
    return made("snmp", within, **{"address": IP, "port": port, "make": "apc", "outlet": 3} | said)


@pytest.mark.full
class TestConformance(WithCredentials, DatagramConformance):
    """As every kind, by the real programs."""

    secrets = (PASSWORD,)

    def control(self, port, within):
        return at(port, within, **VERSION_3)

    def stranger(self, port, within):
        return at(port, within, **VERSION_3 | {"user": "nobody"})

    def serve(self, machine):
        return served(snmp.simulated, machine, PASSWORD)


@pytest.mark.full
@pytest.mark.parametrize("version", ["1", "2c"])
async def test_it_is_the_same_with_a_community(version):
    machine = Machine()
    async with served(snmp.simulated, machine, PASSWORD) as port:
        control = at(port, version=version, **VERSION_1)
        for order, is_on in (("off", False), ("on", True), ("reset", True)):
            await control.send(order)
            assert await control.is_on() is is_on
    assert machine.orders == ["off", "on", "reset"]


REFUSED = [
    (VERSION_3 | {"user": "nobody"}, "refuses {verb}: snmp.et: Unknown user name"),
    (VERSION_3 | {"password": "other password"}, "refuses {verb}: snmp.et: Authentication failure"),
    (VERSION_3 | {"password": "short"}, "refuses {verb}: Error: passphrase chosen is below the le"),
    (VERSION_3 | {"privacy": "other password"}, r"no answer in 0\.5 s to {verb}$"),
    (
        {"version": "2c", "community": "guess"},
        r"no answer in 0\.5 s to {verb}: it refuses so whom it does not know",
    ),
    (VERSION_1 | {"outlet": "3.9"}, "refuses {verb}, or has no outlet 3.9: .*noSuchName"),
    (
        VERSION_1 | {"version": "2c", "make": "raritan"},
        "(answers status that it has no outlet 3|refuses off)",
    ),
]


@pytest.mark.full
async def test_why_it_is_refused_is_told():
    machine = Machine()

    async def refused(port, said, words):
        for verb in ("status", "off"):
            control = at(port, 0.5, **said)
            with pytest.raises(CardError, match=words.format(verb=verb)) as caught:
                await (control.is_on() if verb == "status" else control.send(verb))
            is_refusal = str(caught.value).startswith(f"refuses {verb}:")
            assert isinstance(caught.value, CardRefused) is is_refusal
            assert "other password" not in str(caught.value)
            assert PASSWORD not in str(caught.value)

    async with served(snmp.simulated, machine, PASSWORD) as port:
        assert await at(port, **VERSION_3).is_on()
        for said, words in REFUSED:
            await refused(port, said, words)
    assert machine.orders == []


@pytest.mark.full
@pytest.mark.parametrize("community", ["it's", 'say "so"', "back\\slash\\", "# none", "é"])
async def test_net_snmp_reads_a_community_as_it_is(community):
    with socket.socket(type=socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as agent:
        agent.bind((IP, 0))
        with pytest.raises(CardError, match="no answer in"):
            await at(agent.getsockname()[1], 0.3, community=community).is_on()
        assert community.encode() in agent.recv(999)


@pytest.mark.full
async def test_a_reset_is_off_and_on_where_the_pdu_has_none():
    machine = Machine()
    own = {"make": None, "state_oid": f"{outside.STATE}{{}}", "state_on": 1, "state_off": 2}
    own |= {"control_oid": f"{outside.SWITCH}{{}}", "control_on": 1, "control_off": 2}
    said = {key: value for key, value in (VERSION_1 | own).items() if value is not None}
    async with served(snmp.simulated, machine, PASSWORD) as port:
        values = CONTROLS.values(Driver("snmp", {"address": IP, "port": port, "outlet": 3} | said))
        control = CONTROLS.named("snmp")(values, 5, NetworkingSettings())
        machine.shows = [True, True]  # it takes its time
        await control.send("reset")
        assert machine.orders == ["off", "on"]
        assert await control.is_on()


STUB = """#!/bin/sh
cat "$SNMPCONFPATH/snmp.conf" >{here}/configuration
{{ tr '\\0' '\\n' </proc/$$/cmdline; env; }} >{here}/seen
echo "$0 $*" >>{here}/told
ls -ld "$SNMPCONFPATH" >{here}/directory
{says}
"""


@pytest.fixture
def net_snmp(tmp_path, monkeypatch):
    """Put other programs in the place of net-snmp's."""

    def put(says):
        for name in ("snmpget", "snmpset"):
            (tmp_path / name).write_text(STUB.format(here=tmp_path, says=says))
            (tmp_path / name).chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
        return tmp_path

    return put


MIBS = {  # what shows on and off; OIDs, and what is set there to switch on, off, and both
    "apc": (
        {"1": True, "2": False},
        "1.3.6.1.4.1.318.1.1.12.3.5.1.1.4.7",
        ["1.3.6.1.4.1.318.1.1.12.3.3.1.1.4.7 i 1", "i 2", "i 3"],
    ),
    "apc-masterswitch": (
        {"1": True, "2": False},
        "1.3.6.1.4.1.318.1.1.4.4.2.1.3.7",
        ["1.3.6.1.4.1.318.1.1.4.4.2.1.3.7 i 1", "i 2", "i 3"],
    ),
    "apc-rpdu2": (
        {"2": True, "1": False},
        "1.3.6.1.4.1.318.1.1.26.9.2.3.1.5.7",
        ["1.3.6.1.4.1.318.1.1.26.9.2.4.1.5.7 i 1", "i 2", "i 3"],
    ),
    "cyberpower": (
        {"1": True, "2": False},
        "1.3.6.1.4.1.3808.1.1.3.3.5.1.1.4.7",
        ["1.3.6.1.4.1.3808.1.1.3.3.3.1.1.4.7 i 1", "i 2", "i 3"],
    ),
    "eaton": (
        {"1": True, "2": True, "0": False, "3": False},
        "1.3.6.1.4.1.534.6.6.7.6.6.1.2.0.7",
        [f"1.3.6.1.4.1.534.6.6.7.6.6.1.{column}.0.7 i 0" for column in (4, 3, 5)],
    ),
    "geist": (
        {"1": True, "2": False, "3": True, "4": False},
        "1.3.6.1.4.1.21239.5.2.3.5.1.4.7",
        ["1.3.6.1.4.1.21239.5.2.3.5.1.6.7 i 2", "i 4", "i 6"],
    ),
    "netio": (
        {"1": True, "0": False},
        "1.3.6.1.4.1.47952.1.1.1.3.7",
        ["1.3.6.1.4.1.47952.1.1.1.5.7 i 1", "i 0", "i 2"],
    ),
    "raritan": (
        {"7": True, "8": False},
        "1.3.6.1.4.1.13742.6.4.1.2.1.3.1.7",
        ["1.3.6.1.4.1.13742.6.4.1.2.1.2.1.7 i 1", "i 0", "i 2"],
    ),
    "servertech": (
        {"1": True, "0": False, "2": True, "3": False},
        "1.3.6.1.4.1.1718.3.2.3.1.5.1.1.7",
        ["1.3.6.1.4.1.1718.3.2.3.1.11.1.1.7 i 1", "i 2", "i 3"],
    ),
    "servertech-pro": (
        {"1": True, "0": False},
        "1.3.6.1.4.1.1718.4.1.8.3.1.1.1.1.7",
        ["1.3.6.1.4.1.1718.4.1.8.5.1.2.1.1.7 i 1", "i 2", "i 3"],
    ),
}


@pytest.mark.parametrize("make", MAKES)
async def test_what_each_make_shows_and_is_told(net_snmp, make):
    shown, oid, orders = MIBS[make]
    for value, is_on in shown.items():
        here = net_snmp(f"echo {value}")
        assert await at(161, make=make, outlet=7, **VERSION_1).is_on() is is_on
        assert (here / "told").read_text().splitlines()[-1].endswith(f" udp:{IP}:161 {oid}")
    for order, words in zip(("on", "off", "reset"), orders, strict=True):
        await at(161, make=make, outlet=7, **VERSION_1).send(order)
        assert (here / "told").read_text().splitlines()[-1].endswith(f" {words}")
    net_snmp("echo 99")
    with pytest.raises(CardError, match="answers status with '99', expected one of "):
        await at(161, make=make, outlet=7, **VERSION_1).is_on()


@pytest.mark.parametrize(
    ("make", "outlet", "index"),
    [
        ("eaton", "7", "0.7"),
        ("eaton", "2.7", "2.7"),
        ("raritan", "3.7", "3.7"),
        ("servertech", "7", "1.1.7"),
        ("servertech", "2.7", "1.2.7"),
        ("servertech", "2.1.7", "2.1.7"),
        ("apc", "7", "7"),
    ],
)
def test_an_outlet_of_a_chain(make, outlet, index):
    assert MAKES[make].index(outlet) == index


@pytest.mark.parametrize(
    "says", ["", "echo", "echo on", "echo 1.5", "echo '\"x\"'", "printf '\\033[2J\\233'", "yes 1"]
)
async def test_an_answer_that_is_none_is_a_clean_error(net_snmp, says):
    net_snmp(says)
    with pytest.raises(CardError) as caught:
        await at(161, **VERSION_1).is_on()
    assert str(caught.value).startswith("answers ")
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("says", ["exit 1", "echo; exit 2", "kill -SEGV $$", "echo >&2; exit 1"])
async def test_a_program_that_fails_without_a_word_is_told(net_snmp, says):
    net_snmp(says)
    with pytest.raises(CardError, match=r"fails to do off: it does not say why$"):
        await at(161, **VERSION_3).send("off")


@pytest.mark.parametrize("said", [VERSION_1, VERSION_3, VERSION_1 | {"version": "2c"}])
async def test_what_lets_in_is_in_memory_only(net_snmp, said, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    here = net_snmp("echo 1")
    assert await at(161, **said).is_on()
    assert PASSWORD in (here / "configuration").read_text()
    assert PASSWORD not in (here / "seen").read_text()
    assert (here / "directory").read_text().startswith("drwx------ ")
    assert not list(tmp_path.glob("rhubarbe-snmp*"))


async def test_nothing_stays_where_it_is_given_up(net_snmp, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    net_snmp("sleep 60")
    with pytest.raises(CardError, match=r"no answer in 0\.2 s to off"):
        await at(161, 0.2, **VERSION_3).send("off")
    assert not list(tmp_path.glob("rhubarbe-snmp*"))


async def test_a_gateway_without_net_snmp_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(GatewayError, match=r"snmpget: no such .*; apt-get install snmp"):
        await at(161, **VERSION_1).is_on()


async def test_a_place_without_room_is_the_gateway_s_fault(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "none"))
    with pytest.raises(GatewayError, match=r"rhubarbe-snmp-.*: cannot be made: No such file"):
        await at(161, **VERSION_1).is_on()


BASE = {"address": IP, "outlet": 3}


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"community": "c"}, "make: expected make, or state_oid and what belongs to it"),
        (
            {"make": "apc", "state_oid": "1.3.6.1.4.1.9.1", "community": "c"},
            "make: expected make, or state_oid and what belongs to it",
        ),
        ({"make": "apc"}, "community: version 1 wants one, and no user, as version 3 does"),
        (
            {"make": "apc", "version": 3},
            "user: version 3 wants one, and no community, as versions 1 and 2c do",
        ),
        (
            {"make": "apc", "version": 3, "user": "u", "community": "c"},
            "user: version 3 wants one, and no community, as versions 1 and 2c do",
        ),
        (
            {"make": "apc", "version": 3, "user": "u", "privacy": "p"},
            "password: expected where there is privacy",
        ),
    ],
)
def test_what_does_not_fit_together_is_told(said, words):
    driver = Driver("snmp", BASE | said)
    assert list(CONTROLS.faults(driver)) == []
    assert CONTROLS.named("snmp").misfit(CONTROLS.values(driver)) == words


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("make", "acme"),
        ("outlet", "seven"),
        ("outlet", -1),
        ("outlet", "1.2.3.4.5"),
        ("version", 4),
        ("state_oid", "PowerNet-MIB::outlet"),
        ("state_oid", "1.3.6.1.4.1.9.{outlet}"),
        ("control_on", "on"),
    ],
)
def test_what_cannot_be_is_told(key, value):
    (fault,) = CONTROLS.faults(Driver("snmp", BASE | {key: value}))
    assert fault.startswith(f"power.{key}: expected ")


def test_an_outlet_is_the_same_whoever_asks():
    def outlet(**said):
        values = CONTROLS.values(Driver("snmp", BASE | {"make": "servertech"} | said))
        return CONTROLS.named("snmp").outlet(values, NetworkingSettings())

    assert outlet(**VERSION_1) == outlet(**VERSION_3, outlet="1.1.3")
    assert outlet(outlet=4) != outlet()


async def test_many_at_once_do_not_meet(net_snmp):
    net_snmp("echo 1")
    controls = [at(161, 20, outlet=number, **VERSION_1) for number in range(1, 25)]
    assert all(await asyncio.gather(*(control.is_on() for control in controls)))
