"""Which host keys are taken, with servers of OpenSSH; its own programs say what a file means."""

import asyncio
import itertools
import os
import shlex
import shutil
import subprocess
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openssh import PORT, SSHD, OpenSsh, keygen

from rhubarbe.config.settings import NetworkingSettings
from rhubarbe.errors import ConfigError, NodeError, Refused
from rhubarbe.transports import known_hosts, ssh_keys
from rhubarbe.transports.known_hosts import Identity, known_keys, look_up, require_files
from rhubarbe.transports.ssh import ask, log_in, open_shell

pytestmark = pytest.mark.skipif(not shutil.which(SSHD), reason="without openssh-server")
LIMIT = 10.0
NAME = "fit01"


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    """Keys: the user's, hosts', one of RSA among them, and authorities'."""
    directory = tmp_path_factory.mktemp("keys")
    for name in ("user", "host", "other", "authority", "stranger"):
        keygen(directory / name)
    keygen(directory / "rsa", "-t", "rsa", "-b", "2048")
    keygen(directory / "ecdsa", "-t", "ecdsa")
    return directory


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    monkeypatch.setattr(ssh_keys, "_welcome", set())


@pytest.fixture
def sshd(keys, tmp_path):
    server = OpenSsh(tmp_path)
    server.authorize(keys / "user")
    server.host_key = keys / "host"
    return server


@pytest.fixture
def file(tmp_path):
    return tmp_path / "known"


def public(path):
    return " ".join(path.with_name(f"{path.name}.pub").read_text().split()[:2])


def fingerprint(path):
    words = ["ssh-keygen", "-l", "-f", f"{path}.pub"]
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout.split()[1]


def certify_host(directory, principal, authority, *options):
    """Return a copy of the host key with a certificate beside it."""
    for name in ("host", "host.pub"):
        shutil.copy(directory / name, directory / f"{principal}-{name}")
    key = directory / f"{principal}-host"
    (directory / f"{principal}-host.pub").rename(f"{key}.pub")
    words = ["ssh-keygen", "-q", "-s", str(authority), "-h", "-I", "id", "-n", principal]
    subprocess.run([*words, *options, f"{key}.pub"], check=True)
    return key


def hashed(text, directory):
    """Have ssh-keygen hash the names."""
    path = directory / "hashed"
    path.write_text(text)
    subprocess.run(["ssh-keygen", "-H", "-f", str(path)], check=True, capture_output=True)
    return path.read_text()


async def verdict(server, keys, file, *, strict=False):
    """Return why a node is refused, or an empty text."""
    identity = Identity(NAME, str(file), strict)
    try:
        async with asyncio.timeout(30):
            await log_in(*server.place, str(keys / "user"), LIMIT, identity)
    except Refused as error:
        return str(error)
    return ""


# Gives ssh a connection to an address, so that it need not resolve the node's name.
CONNECT = (
    "import socket, sys; s = socket.create_connection((sys.argv[1], int(sys.argv[2])));"
    " socket.send_fds(socket.socket(fileno=1), [b'x'], [s.fileno()])"
)


async def of_ssh(server, keys, file, checking):
    """Return whether OpenSSH's own client takes the node by this file."""
    options = {
        "UserKnownHostsFile": file,
        "GlobalKnownHostsFile": "/dev/null",
        "StrictHostKeyChecking": checking,
        "IdentityFile": keys / "user",
        "ProxyCommand": shlex.join([sys.executable, "-ISc", CONNECT, server.ip, str(PORT)]),
        "ProxyUseFdpass": "yes",
        "BatchMode": "yes",
        "UpdateHostKeys": "no",
        "User": server.user,
    }
    words = [word for key, value in options.items() for word in ("-o", f"{key}={value}")]
    client = await asyncio.create_subprocess_exec(
        *("ssh", "-F", "/dev/null", *words, "-p", str(PORT), NAME, "true"),
        stdin=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    said = (await client.communicate())[1].decode()
    assert client.returncode == 0 or "Host key verification failed" in said, said
    return client.returncode == 0


FILES = {
    "its key": "{name}:{port} {host}",
    "its key by address": "{ip}:{port} {host}",
    "its key without the port": "fit01 {host}",
    "a list": "a,{name}:{port},b {host}",
    "one of two": "{name}:{port} {other}\n{name}:{port} {host}",
    "among comments": "# x\n\n   \n{name}:{port} {host} a comment\n",
    "wildcards": "[fit?1]:* {host}",
    "another's": "[fit02]:{port} {host}\n[fit02]:{port} {other}",
    "excluded": "*,!fit01,!{name}:{port} {other}",
    "upper case": "[FIT01]:{port} {host}",
    "another key": "{name}:{port} {other}",
    "another key without the port": "fit01 {other}",
    "the port counts more": "fit01 {other}\n{name}:{port} {host}",
    "nothing": "",
    "revoked": "{name}:{port} {host}\n@revoked * {host}",
    "another is revoked": "{name}:{port} {host}\n@revoked * {other}",
}
# With a port, OpenSSH looks at a name without it only for a key that is right.
STRICTER = {"another key without the port"}
BAD = {"another key", "another key without the port", "revoked"}
NEW = {"another's", "excluded", "nothing"}


def fill(text, keys, server):
    return text.format(
        name=f"[{NAME}]",
        ip=f"[{server.ip}]",
        port=PORT,
        **{name: public(keys / name) for name in ("host", "other")},
    )


async def test_files_mean_what_they_mean_to_openssh(sshd, keys, file, tmp_path):
    async with sshd.serving() as server:
        for what, text in FILES.items():
            filled = fill(text, keys, server)
            for is_hashed in (False, True):
                file.write_text(hashed(filled, tmp_path) if is_hashed and filled else filled)
                lenient = await verdict(server, keys, file)
                strict = await verdict(server, keys, file, strict=True)
                assert bool(lenient) == (what in BAD), (what, lenient)
                assert bool(strict) == (what in BAD | NEW), (what, strict)
            file.write_text(filled)
            if "address" in what:  # ssh looks up the name that it is given
                continue
            assert await of_ssh(server, keys, file, "yes") == (not strict), what
            taken = await of_ssh(server, keys, file, "accept-new")
            assert taken == (not lenient) or what in STRICTER, what


async def test_a_wrong_key_is_named_by_both_fingerprints(sshd, keys, file):
    file.write_text(f"# x\nfit02 {public(keys / 'rsa')}\nfit01 {public(keys / 'other')}\n")
    async with sshd.serving() as server:
        said = await verdict(server, keys, file)
    shown, known = fingerprint(keys / "host"), fingerprint(keys / "other")
    assert said == (
        f"its host key is {shown} (ssh-ed25519), not {known} (ssh-ed25519) as in line 3 of {file}"
    )


async def test_an_unknown_node_is_refused_where_that_is_asked_for(sshd, keys, file):
    file.touch()
    async with sshd.serving() as server:
        said = await verdict(server, keys, file, strict=True)
    assert fingerprint(keys / "host") in said
    assert "strict_host_key_checking = yes" in said


async def test_a_key_of_another_type_does_not_pass_for_a_new_one(sshd, keys, file):
    file.write_text(f"fit01 {public(keys / 'rsa')}\n")
    async with sshd.serving() as server:
        said = await verdict(server, keys, file)
    assert fingerprint(keys / "rsa") in said
    assert fingerprint(keys / "host") in said


@pytest.mark.parametrize("known", ["rsa", "ecdsa", "host"])
async def test_a_node_shows_the_key_that_is_known(sshd, keys, file, known):
    file.write_text(f"fit01 {public(keys / known)}\n")
    more = (f"HostKey {keys / 'rsa'}", f"HostKey {keys / 'ecdsa'}")
    async with sshd.serving(*more) as server:
        assert await verdict(server, keys, file, strict=True) == ""


async def test_a_certificate_of_a_known_authority(sshd, keys, file):
    key = certify_host(keys, NAME, keys / "authority")
    sshd.host_key = key
    async with sshd.serving(f"HostCertificate {key}-cert.pub") as server:
        for hosts in ("*", "fit*", f"[fit01]:{PORT}", f"[{NAME}]:*,!fit02"):
            file.write_text(f"@cert-authority {hosts} {public(keys / 'authority')}\n")
            assert await verdict(server, keys, file, strict=True) == "", hosts
            assert await of_ssh(server, keys, file, "yes"), hosts
        file.write_text(f"@cert-authority fit* {public(keys / 'stranger')}\n")
        said = await verdict(server, keys, file)
        assert fingerprint(keys / "stranger") in said
        assert fingerprint(keys / "authority") in said
        for revoked in ("host", "authority"):
            file.write_text(
                f"@cert-authority * {public(keys / 'authority')}\n"
                f"@revoked * {public(keys / revoked)}\n"
            )
            assert "revoked" in await verdict(server, keys, file), revoked
            assert not await of_ssh(server, keys, file, "yes")


@pytest.mark.parametrize(
    ("principal", "options"), [("fit02", ()), ("fit01", ("-V", "20200101:20200102"))]
)
async def test_a_certificate_for_another_or_out_of_date(sshd, keys, file, principal, options):
    key = certify_host(keys, principal, keys / "authority", *options)
    sshd.host_key = key
    file.write_text(f"@cert-authority * {public(keys / 'authority')}\n")
    async with sshd.serving(f"HostCertificate {key}-cert.pub") as server:
        assert "ertificate" in await verdict(server, keys, file)
        assert not await of_ssh(server, keys, file, "yes")


async def test_where_an_authority_is_known_a_bare_key_is_none(sshd, keys, file):
    file.write_text(f"@cert-authority fit* {public(keys / 'authority')}\n")
    async with sshd.serving() as server:
        said = await verdict(server, keys, file)
    assert "without a certificate" in said
    assert fingerprint(keys / "host") in said


@pytest.mark.parametrize(
    "line",
    ["fit01", "fit01 ", "fit01 nonsense", "fit01 ssh-ed25519 AAAA", "@unknown fit01 {host}"],
)
async def test_a_line_that_holds_no_key_is_not_taken_for_no_line(sshd, keys, file, line):
    file.write_text(line.format(host=public(keys / "host")) + "\n")
    async with sshd.serving() as server:
        assert "line 1" in await verdict(server, keys, file)


async def test_where_no_file_is_named_any_key_is_taken(sshd, keys):
    async with sshd.serving() as server:
        assert await verdict(server, keys, "", strict=True) == ""


async def test_no_way_in_is_without_it(sshd, keys, file):
    """Neither a command, nor the ramdisk's shell; and nothing is shown to a stranger."""
    file.write_text(f"fit01 {public(keys / 'other')}\n")
    identity, key = Identity(NAME, str(file)), str(keys / "user")
    async with sshd.serving("LogLevel VERBOSE") as server:
        with pytest.raises(Refused, match="its host key is"):
            await ask(*server.place, key, LIMIT, "true", identity=identity)
        with pytest.raises(Refused, match="its host key is"):
            async with open_shell(server.ip, PORT, key, LIMIT, identity):
                pass
        assert "publickey" not in server.log.read_text()


# -- the file


def fifo(path):
    os.mkfifo(path)


def large(path):
    with path.open("wb") as stream:
        stream.truncate(known_hosts.MOST_BYTES + 1)


@pytest.mark.parametrize("make", [None, fifo, large, lambda path: path.mkdir()])
async def test_a_file_that_cannot_be_read_is_said_before_anything_is_done(file, make):
    if make:
        make(file)
    for name in ("known_hosts", "ramdisk_known_hosts"):
        with pytest.raises(ConfigError, match=rf"\A{name} in \[networking\]: {file}: [^\n]+\Z"):
            await require_files(NetworkingSettings(**{name: str(file)}))
    with pytest.raises(Refused, match=str(file)):
        known_keys(Identity(NAME, str(file)), "10.0.0.1", 22)
    await require_files(NetworkingSettings())
    with pytest.raises(ConfigError, match="known_hosts, which names no file"):
        await require_files(NetworkingSettings(strict_host_key_checking="yes"))


GARBAGE = ("nonsense\n", "fit01 ssh-ed25519 AAAA\n", "# x\n\nfit01\n", "<html>\n<body>404</body>\n")


@pytest.mark.parametrize("content", GARBAGE)
async def test_a_file_without_a_key_in_any_line_is_none(file, content):
    file.write_text(content)
    with pytest.raises(ConfigError, match=r"no line holds a host key; the first is line [13]\Z"):
        await require_files(NetworkingSettings(known_hosts=str(file)))


@pytest.mark.parametrize("content", ["", "# nothing yet\n", "{garbage}fit02 {key}\n"])
async def test_a_file_with_nothing_or_a_key_in_it_is_one(file, keys, content):
    file.write_text(content.format(garbage=GARBAGE[0], key=public(keys / "host")))
    await require_files(NetworkingSettings(known_hosts=str(file)))


async def test_a_file_that_anybody_can_write_is_refused(file, keys):
    file.write_text(f"fit01 {public(keys / 'host')}\n")
    file.chmod(0o666)
    says = f"{file}: anybody can write it; do: chmod o-w {file}"
    with pytest.raises(ConfigError, match=rf"\Aknown_hosts in \[networking\]: {says}\Z"):
        await require_files(NetworkingSettings(known_hosts=str(file)))
    with pytest.raises(Refused, match=says):
        await look_up(Identity(NAME, str(file)), "10.0.0.1", 22)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a file away")
async def test_a_file_of_a_stranger_s_is_refused(file, keys):
    file.write_text(f"fit01 {public(keys / 'host')}\n")
    os.chown(file, 4001, 4001)
    with pytest.raises(ConfigError, match="belongs to uid 4001, neither you nor root"):
        await require_files(NetworkingSettings(ramdisk_known_hosts=str(file)))


@pytest.mark.parametrize(
    "content", [b"\xff\xfe\0" * 1000, b"|1|x|y " * 100, b"@\n@revoked\n!", b"*"]
)
def test_bytes_of_any_kind_break_nothing(file, content):
    file.write_bytes(content)
    known_keys(Identity(NAME, str(file)), "10.0.0.1", 22)


PIECES = ("fit01", "fit0", "01", "*", "?", "[", "]", ":2222", ":", "!", ",", "10.0.0.1", "F", "1")


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    hosts=st.lists(st.sampled_from(PIECES), min_size=1, max_size=6).map("".join),
    name=st.sampled_from(["fit01", "[fit01]:2222", "10.0.0.1"]),
)
def test_patterns_match_as_for_ssh_keygen(tmp_path, keys, hosts, name):
    path = tmp_path / "patterns"
    path.write_text(f"{hosts} {public(keys / 'host')}\n")
    words = ["ssh-keygen", "-F", name, "-f", str(path)]
    found = subprocess.run(words, check=False, capture_output=True, text=True).stdout
    (line,) = known_hosts._lines(path.read_text())
    assert line.is_for([name]) == ("found" in found), (hosts, name)


def test_ours_are_never_more_lenient_than_nothing_known():
    """A node that is in the file in whatever way is never taken as a new one."""
    for trusted, authorities, unread in itertools.product((0, 1), repeat=3):
        known = known_hosts.KnownKeys(Identity(NAME, "f"), unread=[1] * unread)
        known.trusted += [(1, object())] * trusted
        known.authorities += [object()] * authorities
        assert known.is_known == bool(trusted or authorities or unread)
    assert issubclass(Refused, NodeError)
