"""Secrets of nodes: all are asked for before any node is touched, and none is a node's fault."""

import pytest
from absent import entry

from rhubarbe.config.secrets import Secret
from rhubarbe.config.section import Section, setting
from rhubarbe.config.values import SECRET, TEXT
from rhubarbe.errors import GatewayError
from rhubarbe.inventory import Driver
from rhubarbe.node.secrets import lacking_secrets, require_secrets, secrets_of
from rhubarbe.transports import power
from rhubarbe.transports.power import PowerControl


class Values(Section):
    user: str = setting(TEXT, "", "who")
    password: Secret = setting(SECRET, Secret(""), "what lets in")
    other: Secret = setting(SECRET, Secret(""), "what else does")


class Locked(PowerControl):
    takes = Values


@pytest.fixture(autouse=True)
def _is_a_kind(monkeypatch):
    monkeypatch.setitem(power.KINDS, "locked", f"{__name__}.Locked")
    named = power.CONTROLS.named
    monkeypatch.setattr(
        power.CONTROLS, "named", lambda kind: Locked if kind == "locked" else named(kind)
    )


def locked(number, *several):
    return entry(number, power=tuple(Driver("locked", said) for said in several))


def test_each_is_found_with_its_place():
    node = locked(1, {"password": "a", "user": "ada"}, {"password": "!env B", "other": "c"})
    assert [(place, str(secret)) for place, secret in secrets_of(node)] == [
        ("power[1].password", "(not shown)"),
        ("power[2].password", "!env B"),
        ("power[2].other", "(not shown)"),
    ]
    assert list(secrets_of(entry())) == []


async def test_where_all_are_there_nothing_is_said(monkeypatch):
    monkeypatch.setenv("PDU", "x")
    await require_secrets([entry(1), locked(2, {"password": "!env PDU"}), locked(3, {})])


async def test_what_lacks_is_told_once_with_the_first_of_its_nodes(tmp_path):
    nodes = [locked(number, {"password": "!env NOWHERE"}) for number in (1, 2, 3)]
    path = tmp_path / "away"
    nodes.append(locked(4, {"password": f"!file {path}"}))
    assert await lacking_secrets(nodes) == [
        "fit01: power.password: no secret: $NOWHERE is not set",
        f"fit04: power.password: no secret: {path}: no such file",
    ]
    with pytest.raises(GatewayError) as caught:
        await require_secrets(nodes)
    assert str(caught.value) == (
        "fit01: power.password: no secret: $NOWHERE is not set, and 1 more: nothing was touched"
    )


async def test_a_keyring_is_asked_once_for_all_nodes(tmp_path):
    keyring = tmp_path / "keyring"
    keyring.write_text(f"#!/bin/sh\necho asked >> {tmp_path}/asked\necho x\n")
    keyring.chmod(0o755)
    nodes = [locked(number, {"password": f"!command {keyring}"}) for number in range(1, 20)]
    await require_secrets(nodes)
    await require_secrets(nodes[:1])
    assert len((tmp_path / "asked").read_text().split()) <= 2
