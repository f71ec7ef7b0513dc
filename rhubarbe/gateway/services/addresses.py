"""Which of this machine's addresses a node can reach."""

import socket

from rhubarbe.errors import GatewayError, why


def why_not_ours(address: str) -> str:
    """Say why nothing of this machine can use an address; empty where it can."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError as error:
            return why(error)
    return ""


def local_address_towards(ip: str, configured: str = "") -> str:
    """Return our address on the route to `ip`, or the configured one; raises GatewayError."""
    if configured:
        return configured
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            # Connecting a datagram socket sends nothing: it only asks the routing table.
            probe.connect((ip, 9))
        except OSError as error:
            raise GatewayError(
                f"no route to {ip}: {why(error)}; set local_control_ip in [networking]"
            ) from error
        address: str = probe.getsockname()[0]
        return address
