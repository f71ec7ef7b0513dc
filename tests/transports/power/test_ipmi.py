"""Management controllers by IPMI: the real ipmitool, and ipmi_sim of openipmi as the other end."""

import math

import pytest
from conformance import Machine, WithCredentials
from datagrams import DatagramConformance
from simulated import IP, Switched, made, served

from rhubarbe.errors import CardError, CardRefused, GatewayError
from rhubarbe.inventory import Driver
from rhubarbe.testbed.controls import ipmi
from rhubarbe.testbed.faults import Faults
from rhubarbe.transports.power import CONTROLS

# As long as ipmi_sim takes, and of what a shell or a format would read.
PASSWORD = "it's$HOME%s`id`;#0n"


def at(port, within=5, **said):
    return made(
        "ipmi",
        within,
        **{"address": IP, "port": port, "user": ipmi.USER, "password": PASSWORD} | said,
    )


@pytest.mark.full
class TestConformance(WithCredentials, DatagramConformance):
    """As every kind, by the real programs."""

    secrets = (PASSWORD,)

    def control(self, port, within):
        return at(port, within)

    def stranger(self, port, within):
        return at(port, within, password="guess")

    def serve(self, machine):
        return served(ipmi.simulated, machine, PASSWORD)


@pytest.mark.full
@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"password": "guess"}, "refuses {verb} with the password of operator"),
        ({"password": ""}, "refuses {verb} with the password of operator"),
        ({"user": "nobody"}, "refuses {verb} with the user nobody"),
        ({"user": ""}, "refuses {verb} with the user"),
        (
            {"cipher": 17},
            "refuses {verb} with cipher suite 17: `cipher` says another, as a rule 17 or 3",
        ),
        (
            {"password": "more than twenty bytes"},
            "cannot do {verb}: no password of IPMI has more than 20 bytes",
        ),
    ],
)
async def test_why_it_is_refused_is_told(said, words):
    machine = Machine()
    async with served(ipmi.simulated, machine, PASSWORD) as port:
        control = at(port, **said)
        for act, verb in ((control.is_on(), "status"), (control.send("off"), "off")):
            with pytest.raises(CardError) as caught:
                await act
            assert str(caught.value).startswith(words.format(verb=verb))
            assert isinstance(caught.value, CardRefused) is words.startswith("refuses")
            assert said.get("password", "guess") not in str(caught.value) or not said["password"]
    assert machine.orders == []


@pytest.mark.full
async def test_who_may_only_look_can_look():
    machine = Machine()
    async with served(ipmi.simulated, machine, PASSWORD) as port:
        looking = at(port, privilege="user")
        assert await looking.is_on()
        with pytest.raises(
            CardError, match="refuses off to operator as USER: `privilege` says another"
        ):
            await looking.send("off")
    assert machine.orders == []


@pytest.mark.full
async def test_one_that_fails_is_not_taken_for_one_that_refuses(monkeypatch):
    """Though an OPERATOR is refused what ipmitool asks besides, each time, and goes on without."""
    monkeypatch.setattr(Switched, "faults", Faults({"card-500": math.inf}))
    machine = Machine()
    async with served(ipmi.simulated, machine, PASSWORD) as port:
        control = at(port)
        for act, verb in ((control.is_on(), "status"), (control.send("off"), "off")):
            with pytest.raises(CardError, match=f"fails to do {verb}: .*: Unspecified error"):
                await act
    assert machine.orders == []


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        ({"cipher": 18}, "power.cipher: expected a cipher suite from 0 to 17, found 18"),
        ({"privilege": "root"}, "power.privilege: expected one of CALLBACK, USER, OPERATOR, ADMIN"),
        ({"reset": "hard"}, "power.reset: expected one of reset, cycle, found 'hard'"),
    ],
)
def test_what_cannot_be_is_told(said, fault):
    whole = {"address": IP, "user": "u", "password": "p"} | said
    (found,) = CONTROLS.faults(Driver("ipmi", whole))
    assert found.startswith(fault)


STUB = """#!/bin/sh
{says}
"""


@pytest.fixture
def ipmitool(tmp_path, monkeypatch):
    """Put another program in the place of ipmitool, which says what a real one was heard to."""

    def put(says):
        (tmp_path / "ipmitool").write_text(STUB.format(says=says))
        (tmp_path / "ipmitool").chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    return put


@pytest.mark.parametrize(
    ("says", "words"),
    [
        (
            "echo 'Set Chassis Power Control to Cycle failed: Command not supported in present"
            " state' >&2; exit 1",
            "fails to do reset: Set Chassis Power Control to Cycle failed: Command not supported",
        ),
        (
            "echo 'RAKP 2 message indicates an error : insufficient resources for session' >&2;"
            " exit 1",
            "refuses reset: it has no session left",
        ),
        (
            "echo 'Set Session Privilege Level to OPERATOR failed' >&2; exit 1",
            "refuses reset to u as OPERATOR: `privilege` says another",
        ),
        ("exit 1", "fails to do reset: it does not say why"),
        ("kill -SEGV $$", "fails to do reset: it does not say why"),
        ("yes", "answers reset by ipmitool, which writes more than 65536 bytes"),
        ("printf '\\033[2JError: \\001 x\\n' >&2; exit 1", "fails to do reset: Error: x"),
    ],
)
async def test_what_real_ones_say_is_told_in_a_clean_line(ipmitool, says, words):
    ipmitool(says)
    with pytest.raises(CardError) as caught:
        await at(623, user="u").send("reset")
    assert str(caught.value).startswith(words)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("says", ["", "echo on", "echo Chassis Power is onerous", "echo; echo x"])
async def test_an_answer_that_is_none_is_an_error(ipmitool, says):
    ipmitool(says)
    with pytest.raises(CardError, match=r"answers status with .*, expected on or off"):
        await at(623).is_on()


async def test_the_password_is_in_no_argument_and_no_variable(ipmitool, tmp_path):
    ipmitool(
        f'cd {tmp_path}; tr "\\0" "\\n" </proc/$$/cmdline >words; env >variables;'
        ' while [ "$1" != -f ]; do shift; done; cat "$2" >secret; echo Chassis Power is on'
    )
    assert await at(623).is_on()
    assert (tmp_path / "secret").read_text() == f"{PASSWORD}\n"
    for name in ("words", "variables"):
        assert PASSWORD not in (tmp_path / name).read_text()
    assert "lanplus" in (tmp_path / "words").read_text()


async def test_a_gateway_without_ipmitool_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(GatewayError, match=r"ipmitool: no such .*; apt-get install ipmitool"):
        await at(623).is_on()


async def test_a_reset_may_be_a_cycle(ipmitool, tmp_path):
    ipmitool(f'echo "$@" >>{tmp_path}/told; echo ok')
    await at(623, reset="cycle").send("reset")
    await at(623).send("reset")
    told = (tmp_path / "told").read_text().splitlines()
    assert [line.split()[-3:] for line in told] == [
        ["chassis", "power", "cycle"],
        ["chassis", "power", "reset"],
    ]
