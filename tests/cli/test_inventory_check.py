"""`rhubarbe-inventory --check`: which secrets everybody can read, and which controls are silent."""

import contextlib
import json
import socket
import threading

import pytest

from rhubarbe.cli.dispatch import main
from rhubarbe.config.secrets import NO_SECRET, Secret
from rhubarbe.config.section import Section, setting
from rhubarbe.config.values import SECRET
from rhubarbe.shared import own
from rhubarbe.transports import power
from rhubarbe.transports.power import PowerControl

WITHIN = 0.5


class Values(Section):
    password: Secret = setting(SECRET, NO_SECRET, "what lets in")


class Locked(PowerControl):
    """A control that is always there, for whoever has a password."""

    takes = Values
    name = "lock"

    def __init__(self, values, answers_within, networking):
        self._password = values.password

    async def is_on(self):
        return bool(await self._password.reveal())

    async def send(self, order):
        """Do nothing."""


@pytest.fixture(autouse=True)
def _is_a_kind(monkeypatch):
    named = power.CONTROLS.named
    monkeypatch.setitem(power.KINDS, "locked", "")
    monkeypatch.setattr(
        power.CONTROLS, "named", lambda kind: Locked if kind == "locked" else named(kind)
    )


@pytest.fixture
def check(tmp_path, monkeypatch, capsys):
    """Write an inventory whose nodes have such power, check it, and return code and lines."""
    path, conf = tmp_path / "inventory.json", tmp_path / "rhubarbe.conf"

    def run(*powers, words=(), mode=0o644, more=""):
        path.write_text(
            json.dumps(
                [
                    {
                        "control": {
                            "hostname": f"fit{number:02}",
                            "ip": f"192.0.2.{number}",
                            "mac": f"02:00:00:00:00:{number:02x}",
                        },
                        "power": each,
                    }
                    for number, each in enumerate(powers, 1)
                ]
            )
        )
        path.chmod(mode)
        conf.write_text(
            f"[testbed]\ninventory_path = {path}\n[nodes]\ncmc_default_timeout = {WITHIN}\n{more}"
        )
        conf.chmod(mode)
        monkeypatch.setenv("RHUBARBE_CONF", str(conf))
        code = main(["rhubarbe-inventory", "--check", *words])
        lines = capsys.readouterr().out.replace(str(tmp_path), "HERE").splitlines()
        return code, lines

    return run


@contextlib.contextmanager
def cards(*answers):
    """Serve a power card for each answer, None for one that is silent; yield their ports."""
    with contextlib.ExitStack() as stack:
        ports = []
        for answer in answers:
            server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            ports.append(server.getsockname()[1])
            thread = threading.Thread(target=serve, args=(server, answer))
            stack.callback(thread.join, 10)
            stack.callback(server.shutdown, socket.SHUT_RDWR)
            thread.start()
        yield ports


def serve(server, answer):
    kept = []
    with contextlib.suppress(OSError):
        while True:
            connection, _ = server.accept()
            kept.append(connection)
            if answer is not None:
                connection.recv(999)
                connection.sendall(f"HTTP/1.0 200 OK\r\n\r\n{answer}".encode())
                connection.close()
    for connection in kept:
        connection.close()


def card(port, **more):
    return {"kind": "cmc", "address": "127.0.0.1", "port": port} | more


def test_the_inventory_is_read_once(check, monkeypatch):
    """A file that is replaced meanwhile is not judged by halves."""
    read, reads = own.read_trusted, []

    def counted(path, most):
        reads.append(str(path))
        return read(path, most)

    monkeypatch.setattr(own, "read_trusted", counted)
    code, lines = check({"kind": "none"}, {"kind": "locked", "password": "s3cr3t"})
    assert (code, lines[-1]) == (0, "HERE/inventory.json: no fault")
    assert [path for path in reads if path.endswith("inventory.json")] == reads
    assert len(reads) == 1
    check({"kind": "nobody"})
    assert len(reads) == 2


def test_online_names_each_control_that_does_not_answer(check):
    with cards("on", "off", None, "perhaps", None) as (one, two, three, four, five):
        code, lines = check(
            card(one),
            card(two),
            card(three, name="reboot03"),
            [card(four, name="left"), card(five, name="right")],
            {"kind": "locked", "password": "!env NOT_THERE"},
            {"kind": "none"},
            words=["--online"],
        )
    assert code == 1
    assert lines == [
        "fit03: reboot03: no answer in 0.5 s to status",
        "fit04: left: answers status with 'perhaps', expected on or off",
        "fit04: right: no answer in 0.5 s to status",
        "fit05: lock: no secret: $NOT_THERE is not set",
    ]


def test_online_is_well_where_all_answer(check):
    with cards("on", "off") as ports:
        assert check(*map(card, ports), {"kind": "none"}, words=["--online"]) == (
            0,
            ["HERE/inventory.json: no fault, and no power control is silent"],
        )


def test_offline_nobody_is_asked(check):
    with cards(None) as (port,):
        assert check(card(port)) == (0, ["HERE/inventory.json: no fault"])


def test_online_alone_is_a_slip(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["rhubarbe-inventory", "--online"])
    assert caught.value.code == 2
    assert "--online goes with --check only" in capsys.readouterr().err


def test_a_secret_that_everybody_can_read_is_told_and_refused_by_nobody(check):
    secrets = [{"kind": "locked", "password": each} for each in ("s3cr3t", "!env HOME", "other")]
    more = "[r2labapi]\nadmin_token = s3cr3t\n"
    code, lines = check(*secrets, more=more)
    assert code == 0
    assert lines == [
        "notice: HERE/inventory.json: everybody can read the secret in it (fit01: power.password"
        " and 1 more): chmod o-r HERE/inventory.json, or keep it elsewhere: !file PATH",
        "notice: HERE/rhubarbe.conf: everybody can read the secret in it ([r2labapi] admin_token):"
        " chmod o-r HERE/rhubarbe.conf, or keep it elsewhere: !file PATH",
        "HERE/inventory.json: no fault",
    ]
    assert check(*secrets, more=more, mode=0o640) == (0, ["HERE/inventory.json: no fault"])
    kept = "[r2labapi]\nadmin_token = !env HOME\n"
    assert check(secrets[1], more=kept) == (0, ["HERE/inventory.json: no fault"])


def test_no_fault_hides_another(check):
    code, lines = check({"kind": "nown"}, [{"knd": "cmc"}, {"kind": "none"}], {"kind": "locked"})
    assert code == 1
    assert [line.partition("HERE/inventory.json: ")[2] for line in lines] == [
        'entry 2: power[1]: expected an object with "kind", found one without',
        "fit01: power: there is no kind 'nown', but " + ", ".join(sorted(power.KINDS)),
    ]
