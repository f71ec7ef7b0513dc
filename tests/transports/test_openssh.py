"""Which keys a real server of OpenSSH is shown, and what is said where it lets nobody in."""

import asyncio
import contextlib
import os
import shutil

import pytest
from openssh import SSHD, OpenSsh, add, agent, certify, keygen

from rhubarbe.errors import CommandFailed, Refused, Unreachable
from rhubarbe.transports import ssh_keys
from rhubarbe.transports.ssh import ask, log_in, unusable_keys

pytestmark = [
    pytest.mark.skipif(not shutil.which(SSHD), reason="without openssh-server"),
]
as_root = pytest.mark.skipif(os.getuid() != 0, reason="not root")
LIMIT = 10.0


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    """Return a directory of keys, of which servers let in the first three."""
    directory = tmp_path_factory.mktemp("keys")
    keygen(directory / "good")
    keygen(directory / "secret", passphrase="secret")
    keygen(directory / "rsa", "-t", "rsa", "-b", "2048")
    for number in range(20):
        keygen(directory / f"other{number:02}")
    return directory


@pytest.fixture
def sshd(keys, tmp_path):
    server = OpenSsh(tmp_path)
    server.authorize(keys / "good", keys / "secret", keys / "rsa")
    return server


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A user without keys and agent; return where keys would be."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    monkeypatch.setattr(ssh_keys, "_welcome", set())
    (tmp_path / ".ssh").mkdir()
    return tmp_path / ".ssh"


@pytest.fixture
def others(keys):
    return sorted(keys.glob("other??"))


async def refusal(kind, server, key="", limit=LIMIT):
    async with asyncio.timeout(30):
        with pytest.raises(kind, match=r"\A[^\n]+\Z") as caught:
            await log_in(*server.place, str(key), limit)
    return str(caught.value)


def half(path, keys):
    data = (keys / "good").read_bytes()
    path.write_bytes(data[: len(data) // 2])


UNUSABLE = {
    "PuTTY": lambda path, keys: path.write_text("PuTTY-User-Key-File-3: ssh-rsa\nEncryption: none"),
    "half": half,
    "empty": lambda path, keys: path.touch(),
    "blanks": lambda path, keys: path.write_text(" \n" * 1000),
    "public": lambda path, keys: shutil.copy(keys / "good.pub", path),
    "directory": lambda path, keys: path.mkdir(),
    "FIFO": lambda path, keys: os.mkfifo(path),
    "link": lambda path, keys: path.symlink_to("nowhere"),
    "loop": lambda path, keys: path.symlink_to(path),
    "noise": lambda path, keys: path.write_bytes(bytes(range(256)) * 100),
    "zeros": lambda path, keys: path.write_bytes(bytes(1 << 20)),
    "PEM": lambda path, keys: path.write_text(
        "-----BEGIN RSA PRIVATE KEY-----\nMAAA\n-----END RSA PRIVATE KEY-----\n"
    ),
}


@pytest.mark.parametrize("kind", UNUSABLE)
async def test_a_file_that_cannot_be_used_is_named_and_keeps_no_other_back(sshd, keys, home, kind):
    shutil.copy(keys / "good", home / "id_rsa")
    UNUSABLE[kind](home / "id_ed25519", keys)
    async with sshd.serving() as server, asyncio.timeout(20):
        assert (await log_in(*server.place, "", LIMIT)).startswith("SSH-2.0-OpenSSH")
        (complaint,) = await unusable_keys()
        assert complaint.startswith("~/.ssh/id_ed25519 ")
        (home / "id_rsa").unlink()
        says = await refusal(Refused, server)
    assert complaint in says
    assert "no key to show" in says


@pytest.mark.parametrize("kind", ["PuTTY", "half", "FIFO"])
async def test_a_configured_file_that_cannot_be_used_is_the_reason(sshd, keys, home, kind):
    UNUSABLE[kind](home / "gateway", keys)
    async with sshd.serving() as server:
        says = await refusal(Refused, server, home / "gateway")
    assert says.startswith(f"the ssh key {home}/gateway cannot be used: ")


@pytest.mark.skipif(os.getuid() == 0, reason="root reads everything")
async def test_a_file_that_may_not_be_read(sshd, keys, home):
    shutil.copy(keys / "good", home / "id_rsa")
    (home / "id_ecdsa").touch(mode=0)
    async with sshd.serving() as server:
        await log_in(*server.place, "", LIMIT)
    assert await unusable_keys() == ["~/.ssh/id_ecdsa cannot be used: Permission denied"]


FORMATS = {
    "OpenSSH": (),
    "PEM": ("-t", "rsa", "-b", "2048", "-m", "PEM"),
    "PKCS8": ("-t", "ecdsa", "-m", "PKCS8"),
}


@pytest.mark.parametrize("options", FORMATS.values(), ids=FORMATS)
async def test_a_key_with_a_passphrase_is_called_that(sshd, keys, home, options):
    keygen(home / "id_rsa", *options, passphrase="secret")
    async with sshd.serving() as server:
        says = await refusal(Refused, server)
        assert "~/.ssh/id_rsa has a passphrase, and no agent holds it" in says
        assert await unusable_keys() == []
        shutil.copy(keys / "good", home / "id_ecdsa")
        assert await log_in(*server.place, "", LIMIT)


@pytest.fixture
def asking(monkeypatch, tmp_path):
    """Give the user an agent that holds keys."""

    @contextlib.contextmanager
    def ask_for(*held):
        with agent(tmp_path, *held) as path:
            monkeypatch.setenv("SSH_AUTH_SOCK", str(path))
            yield path

    return ask_for


@pytest.mark.parametrize("place", ["id_ed25519", "gateway"])
async def test_an_agent_holds_what_has_a_passphrase(sshd, keys, home, asking, others, place):
    """The key in a file that is configured, and that one only; or one of the user's own."""
    shutil.copy(keys / "secret", home / place)
    askpass = home / "askpass"
    askpass.write_text("#!/bin/sh\necho secret\n")
    askpass.chmod(0o700)
    key = str(home / place) if place == "gateway" else ""
    async with sshd.serving("MaxAuthTries 1") as server:
        with asking(*others[:9]) as path:
            assert "passphrase" in await refusal(Refused, server, key)
            add(keys / "secret", path, SSH_ASKPASS=str(askpass), SSH_ASKPASS_REQUIRE="force")
            assert await log_in(*server.place, key, LIMIT)


async def test_the_user_s_own_key_comes_before_all_that_an_agent_holds(
    sshd, keys, home, asking, others
):
    shutil.copy(keys / "good", home / "id_ed25519")
    async with sshd.serving("MaxAuthTries 1") as server:
        with asking(*others[:8]):
            assert await log_in(*server.place, "", LIMIT)


@pytest.mark.parametrize(("tries", "before"), [(6, 8), (6, 12), (3, 6), (1, 2)])
async def test_the_right_key_is_found_behind_others(sshd, keys, asking, others, tries, before):
    """A server looks at so many keys, and hangs up: the next connection goes on where it did."""
    async with sshd.serving(f"MaxAuthTries {tries}", "LogLevel VERBOSE") as server:
        with asking(*others[:before], keys / "good"):
            assert await log_in(*server.place, "", LIMIT)
            first = server.log.read_text().count("Connection from")
            assert first > 1
            # From now on it is the first that is shown.
            assert await log_in(*server.place, "", LIMIT)
    assert server.log.read_text().count("Connection from") == first + 1


@pytest.mark.parametrize("number", [1, 5, 6, 7, 12, 18, 20])
async def test_none_of_many_keys_is_told_at_once(sshd, asking, others, number):
    """And within what OpenSSH forgives: at the fourth failure in a row it refuses the address."""
    async with sshd.serving("LogLevel VERBOSE") as server:
        with asking(*others[:number]):
            says = await refusal(Refused, server, limit=30.0)
    assert "ssh refuses to let" in says
    if number >= 6:
        assert "Too many authentication failures" in says
    if number == 20:
        assert "it has looked at 18 of 20 keys" in says
    assert server.log.read_text().count("Connection from") <= 3


@contextlib.asynccontextmanager
async def odd_agent(path, behaviour):
    async def serve(reader, writer):
        with contextlib.suppress(OSError):
            await behaviour(reader, writer)
        writer.close()

    async with await asyncio.start_unix_server(serve, path):
        yield


async def silence(reader, writer):
    await reader.read()


async def goodbye(reader, writer):
    await reader.read(1)


async def noise(reader, writer):
    await reader.read(5)
    writer.write((200).to_bytes(4) + b"\x0c" + b"\xff" * 199)
    await writer.drain()


@pytest.mark.parametrize("behaviour", [silence, goodbye, noise])
async def test_an_agent_that_is_none_keeps_no_key_back(
    sshd, keys, home, tmp_path, monkeypatch, behaviour
):
    monkeypatch.setattr(ssh_keys, "AGENT_LIMIT_S", 0.2)
    monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "odd"))
    async with sshd.serving() as server, odd_agent(tmp_path / "odd", behaviour):
        assert "the ssh agent" in await refusal(Refused, server)
        shutil.copy(keys / "good", home / "id_ed25519")
        assert await log_in(*server.place, "", LIMIT)


@pytest.mark.parametrize("path", ["nowhere", ".", "plain"])
async def test_an_agent_that_is_gone_keeps_no_key_back(
    sshd, keys, home, tmp_path, monkeypatch, path
):
    (tmp_path / "plain").touch()
    monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / path))
    async with sshd.serving() as server:
        assert "the ssh agent cannot be asked" in await refusal(Refused, server)
        shutil.copy(keys / "good", home / "id_ed25519")
        assert await log_in(*server.place, "", LIMIT)


NOTHING_COMMON = {
    "key exchange": "KexAlgorithms sntrup761x25519-sha512@openssh.com",
    "encryption": "Ciphers aes256-cbc,3des-cbc",
    "MAC": "Ciphers aes128-ctr\nMACs hmac-md5",
}


@pytest.mark.parametrize("kind", NOTHING_COMMON)
async def test_no_common_algorithm_will_not_get_better(sshd, keys, kind):
    async with sshd.serving(NOTHING_COMMON[kind]) as server:
        says = await refusal(Refused, server, keys / "good")
    assert says.startswith(f"ssh: no common {kind} algorithm: it offers ")
    offered = NOTHING_COMMON[kind].split()[-1]
    assert says.endswith(offered)


@pytest.mark.filterwarnings("ignore:Diffie-Hellman")
async def test_a_server_of_long_ago_lets_in(sshd, keys):
    old = (
        *("KexAlgorithms diffie-hellman-group14-sha1", "Ciphers aes128-ctr", "MACs hmac-sha1"),
        *("HostKeyAlgorithms ssh-rsa", f"HostKey {keys / 'rsa'}"),
    )
    async with sshd.serving(*old) as server:
        assert await log_in(*server.place, str(keys / "rsa"), LIMIT)


async def test_nothing_is_compressed(sshd, keys):
    async with sshd.serving("Compression yes", "LogLevel DEBUG1") as server:
        await log_in(*server.place, str(keys / "good"), LIMIT)
    log = server.log.read_text()
    assert "compression: none" in log
    assert "compression: zlib" not in log


async def test_a_certificate_beside_a_key_is_shown(sshd, keys, home):
    authority = keygen(home / "authority")
    key = keygen(home / "id_ed25519")
    certify(key, authority, "me")
    allowed = home / "principals"
    allowed.write_text("me\n")
    trusted = f"TrustedUserCAKeys {authority}.pub"
    async with sshd.serving(trusted, f"AuthorizedPrincipalsFile {allowed}") as server:
        assert await log_in(*server.place, "", LIMIT)
    (home / "id_ed25519-cert.pub").write_text("none")
    sshd.authorize(key)
    async with sshd.serving() as server:
        assert await log_in(*server.place, "", LIMIT)


async def test_a_server_that_takes_no_keys(sshd, keys):
    async with sshd.serving("PubkeyAuthentication no") as server:
        assert "it takes no keys" in await refusal(Refused, server, keys / "good")


async def test_a_user_who_may_not_log_in(sshd, keys):
    async with sshd.serving("AuthenticationMethods publickey,password") as server:
        says = await refusal(Refused, server, keys / "good")
    assert "it knows our key, but" in says


async def test_a_banner_of_any_length_is_passed_over(sshd, keys, tmp_path):
    (tmp_path / "banner").write_bytes(b"\x1b[2J \x9b welcome \xff\n" * 10000)
    async with sshd.serving(f"Banner {tmp_path / 'banner'}") as server:
        assert await log_in(*server.place, str(keys / "good"), LIMIT)
        says = await refusal(Refused, server, keys / "other00")
    assert says.isprintable()
    assert len(says) < 200


async def test_a_server_with_too_many_visitors_is_waited_for(sshd, keys):
    async with sshd.serving("MaxStartups 1:100:1") as server:
        _, writer = await asyncio.open_connection(*server.place[:2])
        says = await refusal(Unreachable, server, keys / "good")
        writer.close()
        async with asyncio.timeout(20):
            while True:
                with contextlib.suppress(Unreachable):
                    assert await log_in(*server.place, str(keys / "good"), LIMIT)
                    break
    assert says in ("ssh: it says Exceeded MaxStartups", "ssh: Connection lost")


@as_root
async def test_a_system_that_is_booting_up_is_waited_for(sshd, keys, tmp_path):
    """It knows the key, and lets nobody in yet but root."""
    service = tmp_path / "pam"
    lines = ("account required pam_nologin.so", "account required pam_permit.so")
    service.write_text("\n".join((*lines, "session required pam_permit.so", "")))
    setup = (
        f"mount --bind {service} /etc/pam.d/sshd && cp {sshd.authorized} /run/keys &&"
        " echo System is booting up > /run/nologin &&"
    )
    settings = ("UsePAM yes", "AuthorizedKeysFile /run/keys")
    async with sshd.serving(*settings, setup=setup) as server, asyncio.timeout(20):
        with pytest.raises(Unreachable, match="ssh knows our key, and hangs up: System is booting"):
            await log_in(server.ip, 2222, "daemon", str(keys / "good"), LIMIT)
        assert await log_in(server.ip, 2222, "root", str(keys / "good"), LIMIT)


async def test_what_a_command_complains_of_is_told(sshd, keys):
    async with sshd.serving("ForceCommand echo Password change required >&2; exit 1") as server:
        with pytest.raises(CommandFailed, match="status 1 over ssh: Password change required"):
            await ask(*server.place, str(keys / "good"), LIMIT, "uptime")
