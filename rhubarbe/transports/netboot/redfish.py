"""A machine that is told by Redfish to boot from the network once: no link anywhere.

Whatever it boots there is to be the ramdisk: so the boot server serves that to every node. After a
command that was killed, the machine may boot it once more, and then its disk again.
"""

from rhubarbe.config import Settings
from rhubarbe.errors import CardError
from rhubarbe.transports.netboot.base import Netboot
from rhubarbe.transports.redfish.values import RedfishValues, inside


class Redfish(Netboot):
    """The boot source override of one system."""

    takes = RedfishValues
    links = ()

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
                boot = inside((await self._service.system(talk)).said, "Boot")
                if enabled == "Disabled" and _is_over(boot):
                    return
                said = {
                    "BootSourceOverrideTarget": target,
                    "BootSourceOverrideEnabled": enabled,
                    **self._mode,
                }
                await talk.patch(self._service.path, {"Boot": said})
        except CardError as error:
            raise CardError(f"power card {self._name} {error}") from error


def _is_over(boot: object) -> bool:
    """Tell whether it has booted so, or whether somebody has asked for something else since."""
    is_ours = inside(boot, "BootSourceOverrideTarget") == "Pxe"
    return not is_ours or inside(boot, "BootSourceOverrideEnabled") == "Disabled"
