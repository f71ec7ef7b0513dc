"""OpenSSH holds connections without a login against an address: looks at its port are none.

With the system's own server where it is strict enough (9.8 and later), else with Debian 13's.
"""

import asyncio
import contextlib
import os
import shutil
import subprocess

import pytest
from openssh import PORT, SSHD, OpenSsh, debian_13, is_strict, keygen

from rhubarbe.errors import Refused, Unreachable
from rhubarbe.transports import ssh_keys
from rhubarbe.transports.presence import Presence, accepts
from rhubarbe.transports.ssh import log_in

pytestmark = [
    pytest.mark.full,
    pytest.mark.timeout(300),
    pytest.mark.skipif(os.getuid() != 0, reason="not root"),
]
STRICT = "PerSourcePenalties noauth:60s authfail:60s grace-exceeded:60s min:1s max:600s"
DEFAULT = "PerSourcePenalties yes"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Return the root directory of a strict server."""
    if shutil.which(SSHD) and is_strict(SSHD):
        return "/"
    if not shutil.which("mmdebstrap"):
        pytest.skip("without mmdebstrap")
    try:
        root = debian_13(tmp_path_factory.mktemp("debian"))
    except subprocess.CalledProcessError as error:
        pytest.skip(f"Debian 13 cannot be had: {error.stderr[-200:]}")
    (root / "run/sshd").mkdir()
    return root


@pytest.fixture
def strict(root, tmp_path, monkeypatch):
    """Run a strict server; the user has no keys but those that are named."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    monkeypatch.setattr(ssh_keys, "_welcome", set())
    server = OpenSsh(tmp_path)
    server.authorize(keygen(tmp_path / "good"))
    keygen(tmp_path / "other")
    inside = f"{root}{tmp_path}"
    apart = {
        "setup": f"mkdir -p {inside} && mount --bind {tmp_path} {inside} &&",
        "prefix": f"chroot {root} ",
    }
    return lambda *settings: server.serving(
        *settings, "LogLevel DEBUG1", **({} if root == "/" else apart)
    )


async def test_looks_at_a_port_are_not_held_against_us(strict, tmp_path):
    async with strict(STRICT) as server, asyncio.timeout(60):
        for _ in range(50):
            assert await accepts(server.ip, PORT, 1)
        presence = await Presence.observe(server.ip, (PORT,), 1)
        for _ in range(20):
            assert not await presence.has_left()
        for _ in range(5):
            assert await log_in(*server.place, str(tmp_path / "good"), 10)
        assert "penalty" not in server.log.read_text()


async def test_a_connection_without_a_login_is(strict, tmp_path):
    """So the test before this one could fail."""
    async with strict(STRICT) as server, asyncio.timeout(60):
        _, writer = await asyncio.open_connection(server.ip, PORT)
        writer.close()
        while "active penalty" not in server.log.read_text():  # noqa: ASYNC110 - another's file
            await asyncio.sleep(0.05)
        with pytest.raises(Unreachable):
            await log_in(*server.place, str(tmp_path / "good"), 10)


async def test_as_it_comes_it_forgives_a_search_for_the_right_key(strict, tmp_path, monkeypatch):
    """Which is three connections at most, of which two fail."""
    key = tmp_path / "good"
    (good,) = ssh_keys.read_files(str(key))
    others = [
        pair for _ in range(12) for pair in ssh_keys.read_files(str(tmp_path / "other"))[0].pairs
    ]
    keys = ssh_keys.Keys(pairs=[*others, *good.pairs])

    @contextlib.asynccontextmanager
    async def gathered(key):
        yield keys

    monkeypatch.setattr(ssh_keys, "gathered", gathered)
    async with strict(DEFAULT) as server, asyncio.timeout(60):
        assert await log_in(*server.place, str(key), 10)
        keys.pairs.reverse()  # the right one is known from now on
        for _ in range(10):
            assert await log_in(*server.place, str(key), 10)


async def test_a_refused_key_is_no_reason_to_try_for_long(strict, tmp_path):
    async with strict(DEFAULT) as server, asyncio.timeout(60):
        for _ in range(2):
            with pytest.raises(Refused):
                await log_in(*server.place, str(tmp_path / "other"), 10)
        assert await log_in(*server.place, str(tmp_path / "good"), 10)
