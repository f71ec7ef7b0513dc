"""No control at all: a person switches the node, and is told when."""

from rhubarbe.config.section import Section, setting
from rhubarbe.config.settings import NetworkingSettings
from rhubarbe.config.values import SECONDS, TEXT
from rhubarbe.errors import CardError
from rhubarbe.transports.power.base import PowerControl

ORDERS = ("on", "off", "reset")


class ByHandValues(Section):
    """What the inventory says of a node that a person switches."""

    where: str = setting(TEXT, "", "what else that person is told, such as where the node is")
    patience: float = setting(SECONDS, 180.0, "how many seconds that person may take")


class ByHand(PowerControl):
    """One node that nothing switches: whether it has power is unknown."""

    takes = ByHandValues
    name = "a person"
    is_by_hand = True

    def __init__(
        self, values: ByHandValues, answers_within: float, networking: NetworkingSettings
    ) -> None:
        self.patience = values.patience
        self.where = values.where

    @classmethod
    def outlet(cls, values: ByHandValues, networking: NetworkingSettings) -> object:
        """Return what no other node has."""
        return object()

    async def is_on(self) -> bool | None:
        """Tell that nobody can tell."""
        return None

    async def send(self, order: str) -> None:
        """Accept an order, of which the person is told; raises CardError for what is none."""
        if order not in ORDERS:
            raise CardError(f"is not told to do {order}")
