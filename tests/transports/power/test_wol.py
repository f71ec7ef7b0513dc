"""Machines that are woken by a packet, and shut down over ssh by a real OpenSSH, or over telnet."""

import asyncio
import shutil
import socket

import pytest
from openssh import SSHD, OpenSsh, keygen
from simulated import IP

from rhubarbe.config.settings import NetworkingSettings
from rhubarbe.errors import CardError
from rhubarbe.inventory import Driver, Entry, Interface
from rhubarbe.transports.power import CONTROLS

MAC = "02:00:00:00:00:07"
OWN = Driver("wol", {"broadcast": IP})
SSH_PORT = 2222

pytestmark = pytest.mark.skipif(not shutil.which("ssh-keygen"), reason="needs openssh-client")


def control(address, networking, within=5.0, **said):
    entry = Entry(7, Interface("fit07", address, MAC), None, None)
    driver = Driver("wol", {"broadcast": IP} | said)
    assert list(CONTROLS.faults(driver)) == []
    return CONTROLS.named("wol")(CONTROLS.values(driver, entry), within, networking)


@pytest.fixture
def key(tmp_path, monkeypatch):
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    return keygen(tmp_path / "good")


@pytest.fixture
def networking(free_port, key):
    return NetworkingSettings(telnet_port=free_port, ssh_port=SSH_PORT, ssh_key=str(key))


@pytest.fixture
def sshd(tmp_path, key):
    if not shutil.which(SSHD):
        pytest.skip("without openssh-server")
    server = OpenSsh(tmp_path)
    server.authorize(key)
    return server


async def test_it_is_woken_by_its_control_interface(networking):
    with socket.socket(type=socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as interface:
        interface.bind((IP, 0))
        port = interface.getsockname()[1]
        await control(IP, networking, wake_port=port).send("on")
        assert interface.recv(999) == b"\xff" * 6 + bytes.fromhex(MAC.replace(":", "")) * 16
        other = control(IP, networking, wake_port=port, mac="020000000009", password="1.2.3.4")
        while True:
            try:
                interface.recv(999)
            except BlockingIOError:
                break
        await other.send("on")
        assert interface.recv(999)[6:] == bytes.fromhex("020000000009") * 16 + b"\1\2\3\4"


async def test_it_is_on_while_it_answers(networking, listening):
    async def idle(reader, writer):
        await reader.read()

    assert not await control("127.0.0.9", networking).is_on()
    async with listening(idle) as port:
        by_telnet = NetworkingSettings(telnet_port=port, ssh_port=networking.telnet_port)
        assert await control(IP, by_telnet).is_on()
        assert await control(IP, by_telnet).ask("status") == "on"


@pytest.mark.parametrize(("order", "key_"), [("off", "off"), ("reset", "reset")])
async def test_its_system_is_told_over_ssh(sshd, networking, tmp_path, order, key_):
    async with sshd.serving() as server:
        said = {"user": server.user, key_: f"echo {order} >>{tmp_path}/done"}
        machine = control(server.ip, networking, 20, **said)
        assert await machine.is_on()
        await machine.send(order)
        assert (tmp_path / "done").read_text() == f"{order}\n"


async def test_one_that_cuts_the_session_has_been_told(sshd, networking, tmp_path):
    async with sshd.serving() as server:
        said = {"user": server.user, "off": f"echo off >{tmp_path}/done; kill -9 $PPID"}
        await control(server.ip, networking, 20, **said).send("off")
        assert (tmp_path / "done").read_text() == "off\n"


async def test_why_it_cannot_is_told(sshd, networking, tmp_path):
    other = networking.but(ssh_key=str(keygen(tmp_path / "other")))
    async with sshd.serving() as server:
        for machine, words in (
            (control(server.ip, networking, 20, user=server.user, off="exit 3"), "status 3"),
            (control(server.ip, other, 20, user=server.user), "ssh refuses to let .* in"),
            (control("127.0.0.9", networking), "it answers neither on telnet nor on ssh"),
        ):
            with pytest.raises(CardError, match=f"cannot do off: .*{words}"):
                await machine.send("off")


async def test_a_stranger_is_not_told(sshd, networking, tmp_path):
    (tmp_path / "known").write_text(
        f"fit07 {(keygen(tmp_path / 'else').with_suffix('.pub')).read_text()}"
    )
    known = networking.but(known_hosts=tmp_path / "known")
    async with sshd.serving() as server:
        machine = control(server.ip, known, 20, user=server.user, off=f"touch {tmp_path}/done")
        with pytest.raises(CardError, match="cannot do off: its host key is"):
            await machine.send("off")
    assert not (tmp_path / "done").exists()


@pytest.mark.parametrize(("order", "typed"), [("off", "poweroff -f"), ("reset", "reboot -f")])
async def test_its_ramdisk_is_told_over_telnet(networking, listening, order, typed):
    heard = []

    async def ramdisk(reader, writer):
        line = await reader.readuntil(b"\n")
        heard.append(line[-60:].decode("ascii", "replace"))

    async with listening(ramdisk) as port:
        by_telnet = NetworkingSettings(telnet_port=port, ssh_port=networking.telnet_port)
        await control(IP, by_telnet, 20).send(order)
    assert heard[0].rstrip().endswith(f"(sleep 1; {typed}) >/dev/null 2>&1 & exit")


async def test_other_orders_are_of_another_kind(networking):
    machine = control(IP, networking)
    for act in (machine.send("explode"), machine.ask("weather")):
        with pytest.raises(CardError, match="no control of its kind can"):
            await act


async def test_silence_is_bounded(networking, listening):
    async def silent(reader, writer):
        await reader.read()

    async with listening(silent) as port, asyncio.timeout(20):
        by_telnet = networking.but(telnet_port=port)
        with pytest.raises(CardError, match=r"no answer in 0\.5 s to off"):
            await control(IP, by_telnet, 0.5).send("off")


@pytest.mark.parametrize("address", ["255.255.255.255", "192.0.2.255", "239.1.2.3"])
def test_the_packet_may_go_to_all_but_the_node_is_one(address):
    assert list(CONTROLS.faults(Driver("wol", {"broadcast": address}))) == []
    (fault,) = CONTROLS.faults(Driver("wol", {"broadcast": IP, "address": "255.255.255.255"}))
    assert fault == ("power.address: expected an IPv4 address of one host, found '255.255.255.255'")
