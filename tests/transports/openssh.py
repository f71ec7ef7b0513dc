"""Real servers and agents of OpenSSH, each for the length of a test."""

import asyncio
import contextlib
import getpass
import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from rhubarbe.transports.presence import accepts

SSHD = "/usr/sbin/sshd"
PORT = 2222
# As root it wants this directory, which a machine without its service does not have.
START = (
    "mount -t tmpfs tmpfs /run && mkdir /run/sshd &&"
    " {setup} exec {prefix}{program} -D -e -f {config}"
)


def keygen(path, *options, passphrase=""):
    """Make a pair of keys; return the path of the private one."""
    kind = () if "-t" in options else ("-t", "ed25519")
    subprocess.run(
        ["ssh-keygen", "-q", *kind, "-N", passphrase, "-f", str(path), *options], check=True
    )
    return path


def certify(key, authority, principal):
    """Make a certificate beside a key."""
    subprocess.run(
        ["ssh-keygen", "-q", "-s", str(authority), "-I", "id", "-n", principal, f"{key}.pub"],
        check=True,
    )


def add(key, path, **environment):
    """Have the agent at a socket hold a key."""
    environment |= {"SSH_AUTH_SOCK": str(path)}
    subprocess.run(["ssh-add", "-q", str(key)], env=os.environ | environment, check=True)


@dataclass(frozen=True)
class Server:
    """A server that runs."""

    ip: str
    user: str
    log: Path

    @property
    def place(self):
        return self.ip, PORT, self.user


class OpenSsh:
    """Starts servers that let in who has one of the keys in `authorized`."""

    numbers = iter(range(1, 250))

    def __init__(self, directory):
        self.directory = directory
        self.authorized = directory / "authorized"
        self.host_key = keygen(directory / "host")

    def authorize(self, *paths):
        self.authorized.write_text(
            "".join(path.with_name(f"{path.name}.pub").read_text() for path in paths)
        )

    @contextlib.asynccontextmanager
    async def serving(self, *settings, setup="", prefix="", program=SSHD):
        """Run a server, with more settings; as root, after `setup` on a /run of its own.

        And by the command that `prefix` begins.
        """
        number = next(self.numbers)
        ip = f"127.91.{os.getpid() % 250}.{number}"
        config, log = self.directory / f"sshd{number}", self.directory / f"log{number}"
        lines = (
            *settings,
            f"Port {PORT}",
            f"ListenAddress {ip}",
            f"HostKey {self.host_key}",
            f"AuthorizedKeysFile {self.authorized}",
            *("StrictModes no", "PermitRootLogin yes", "UsePAM no", "PidFile none"),
        )
        config.write_text("".join(f"{line}\n" for line in lines))
        command = [program, "-D", "-e", "-f", str(config)]
        if os.getuid() == 0:
            script = START.format(setup=setup, prefix=prefix, program=program, config=config)
            command = ["unshare", "--mount", "sh", "-c", script]
        with log.open("wb") as output:
            server = await asyncio.create_subprocess_exec(*command, stderr=output)
        try:
            async with asyncio.timeout(40):
                while not await accepts(ip, PORT, 1):
                    assert server.returncode is None, log.read_text()
                    await asyncio.sleep(0.02)
            yield Server(ip, getpass.getuser(), log)
        finally:
            server.terminate()
            await server.wait()


@contextlib.contextmanager
def agent(directory, *keys):
    """Run an agent that holds keys; yield its socket."""
    path = directory / "agent"
    process = subprocess.Popen(
        ["ssh-agent", "-D", "-a", str(path)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    try:
        process.stdout.readline()  # it listens
        for key in keys:
            add(key, path)
        yield path
    finally:
        process.terminate()
        process.communicate()


def is_strict(program):
    """Tell whether a server counts what it holds against an address: OpenSSH 9.8 and later."""
    told = subprocess.run([program, "-V"], capture_output=True, text=True, check=False).stderr
    version = re.search(r"OpenSSH_(\d+)\.(\d+)", told)
    return version is not None and (int(version[1]), int(version[2])) >= (9, 8)


def debian_13(directory):
    """Unpack OpenSSH as Debian 13 has it; return the root directory. Raises CalledProcessError."""
    root = directory / "root"
    subprocess.run(
        [
            *("mmdebstrap", "--variant=extract", "--mode=root"),
            *("--include=openssh-server,base-files,dash,coreutils", "trixie", str(root)),
        ],
        check=True,
        capture_output=True,
    )
    (root / "etc/passwd").write_text(
        "root:x:0:0:root:/root:/usr/bin/dash\nsshd:x:100:65534::/run/sshd:/usr/sbin/nologin\n"
    )
    (root / "etc/group").write_text("root:x:0:\nnogroup:x:65534:\n")
    (root / "etc/shadow").write_text("root:*:19000::::::\n")
    return root
