"""A machine that is told by Redfish to boot from the network once: no link anywhere.

Whatever it boots there is to be the ramdisk: so the boot server serves that to every node. After a
command that was killed, the machine may boot it once more, and then its disk again; unless a load,
a save, a rescue or a wait comes before, which ends that.
"""

from typing import TYPE_CHECKING

from rhubarbe.config import Settings
from rhubarbe.errors import CardError
from rhubarbe.transports.netboot.base import Netboot
from rhubarbe.transports.redfish.values import RedfishValues, inside, link

if TYPE_CHECKING:
    from rhubarbe.transports.redfish.talk import Talk


class Redfish(Netboot):
    """The boot source override of one system."""

    takes = RedfishValues
    links = ()
    asks = True

    def __init__(self, values: RedfishValues, mac: str, settings: Settings) -> None:
        from rhubarbe.transports.redfish.service import Service  # with aiohttp, for those who ask

        self._name = values.name or values.address
        self._service = Service(values)
        self._mode = {"BootSourceOverrideMode": values.boot_mode} if values.boot_mode else {}
        self._within = settings.nodes.cmc_default_timeout

    async def begin(self) -> None:
        """Have it boot from the network, once; raises CardError, and GatewayError."""
        await self._override("Pxe", "Once")

    async def end(self) -> None:
        """Have it boot as usual again, where it has not booted yet."""
        await self._override("None", "Disabled")

    async def _override(self, target: str, enabled: str) -> None:
        try:
            async with self._service.talk("boot override", self._within) as talk:
                place, boot = await self._place(talk)
                if enabled == "Disabled" and _is_over(boot):
                    return
                said = {
                    "BootSourceOverrideTarget": target,
                    "BootSourceOverrideEnabled": enabled,
                    **self._mode,
                }
                await talk.patch(place, {"Boot": said})
        except CardError as error:
            raise CardError(f"power card {self._name} {error}", self._name) from error

    async def _place(self, talk: "Talk") -> tuple[str, object]:
        """Return where it is told, and what is told there: some have an object beside for that."""
        system = await self._service.system(talk)
        if beside := link(system.said, "@Redfish.Settings", "SettingsObject"):
            boot = inside((await talk.ask("GET", beside)).said, "Boot")
            if inside(boot, "BootSourceOverrideTarget"):
                return beside, boot
        return self._service.path, inside(system.said, "Boot")


def _is_over(boot: object) -> bool:
    """Tell whether it has booted so, or whether somebody has asked for something else since."""
    is_ours = inside(boot, "BootSourceOverrideTarget") == "Pxe"
    return not is_ours or inside(boot, "BootSourceOverrideEnabled") == "Disabled"
