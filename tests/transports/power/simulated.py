"""Real counterparts of power controls, as the testbed runs them, for the machine of a test."""

import contextlib
import socket
import tempfile
from pathlib import Path

from rhubarbe.config.settings import NetworkingSettings
from rhubarbe.inventory import Driver
from rhubarbe.testbed.configuration import Names
from rhubarbe.testbed.controls.base import Switch
from rhubarbe.testbed.controls.bridge import bridged
from rhubarbe.testbed.faults import Faults
from rhubarbe.transports.power import CONTROLS

IP = "127.0.0.1"
PASSWORD = 's3cr3t w\\rd#"'


class Switched:
    """What a switch of the testbed needs of a machine."""

    name = "fit01"
    faults = Faults()

    def __init__(self, machine):
        self._machine = machine

    @property
    def has_power(self):
        return self._machine.seen()

    def press(self, key):
        self._machine.press(str(key))


def made(kind, within, **said):
    """Return a control, as the inventory says it."""
    driver = Driver(kind, said)
    assert list(CONTROLS.faults(driver)) == []
    values, control = CONTROLS.values(driver), CONTROLS.named(kind)
    assert not control.misfit(values)
    return control(values, within, NetworkingSettings())


@contextlib.asynccontextmanager
async def switched(machine):
    """Have a machine switched from outside; yield a directory, and the bridge in it."""
    with tempfile.TemporaryDirectory() as name:
        bridge = Path(name) / "bridge"
        switch = Switch(Names(1, 1), IP, Switched(machine), lambda words: None)
        async with bridged(bridge, [switch]):
            yield Path(name), bridge


@contextlib.asynccontextmanager
async def served(simulated, machine, password=PASSWORD):
    """Serve the power of a machine by a program of others; yield its port."""
    with socket.socket(type=socket.SOCK_DGRAM) as holder:
        holder.bind((IP, 0))
        place = holder.getsockname()
    async with (
        switched(machine) as (directory, bridge),
        simulated(directory / "run", bridge, "fit01", place, password),
    ):
        yield place[1]
