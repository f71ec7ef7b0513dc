"""Door to the ramdisk's shell, whichever way it is offered: telnet without a login, or ssh."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from rhubarbe.config.settings import NetworkingSettings, RamdiskShell

# A handshake takes long where many nodes come at once.
HANDSHAKE_S = 10.0


class ShellSession(Protocol):
    """An open session with a shell on a terminal."""

    async def send(self, text: str) -> None:
        """Write text as it is; raises Unreachable when the session is gone."""

    def pieces(self) -> AsyncIterator[str]:
        """Yield what the node says, in pieces of any length, until it closes the session."""


def shell_port(shell: RamdiskShell, networking: NetworkingSettings) -> int:
    """Return the TCP port where the ramdisk offers its shell."""
    return networking.ssh_port if shell is RamdiskShell.SSH else networking.telnet_port


def open_session(
    shell: RamdiskShell, ip: str, networking: NetworkingSettings, name: str = ""
) -> AbstractAsyncContextManager[ShellSession]:
    """Open a session, which is closed on every way out; raises Unreachable, and Refused by ssh.

    `name` is the node's, by which its host key is known.
    """
    port = shell_port(shell, networking)
    # Imported here, since each takes a tenth of a second, and power verbs need neither.
    if shell is RamdiskShell.SSH:
        from rhubarbe.transports import ssh
        from rhubarbe.transports.known_hosts import Identity

        limit_s = max(networking.ssh_timeout, HANDSHAKE_S)
        identity = Identity.of(name, networking, ramdisk=True)
        return ssh.open_shell(ip, port, networking.ssh_key, limit_s, identity)
    from rhubarbe.transports import telnet

    return telnet.open_session(ip, port, networking.telnet_timeout)
