"""A baseboard management controller by IPMI 2.0 over the network, by the program ipmitool."""

import re

from rhubarbe.config.secrets import Secret
from rhubarbe.config.section import Section, ValueKind, setting
from rhubarbe.config.settings import NetworkingSettings
from rhubarbe.config.values import PORT, SECRET, TEXT, between, one_of
from rhubarbe.errors import CardError, CardRefused
from rhubarbe.transports.kinds import ADDRESS, REQUIRED
from rhubarbe.transports.power.base import PowerControl, answering
from rhubarbe.transports.power.programs import in_memory, last_line, path_of, run

ORDERS = ("on", "off", "reset")
LEVEL = one_of("CALLBACK", "USER", "OPERATOR", "ADMINISTRATOR", in_any_case=True)
RESET = one_of("reset", "cycle", in_any_case=True)
SUITE = ValueKind("a cipher suite from 0 to 17", between(0, 17))
LONGEST_PASSWORD = 20
STATES = {"Chassis Power is on": True, "Chassis Power is off": False}
# A datagram that is lost is sent again after a second, then two, until we do not wait any more.
PATIENCE = ("-N", "1", "-R", "30")

# What it tells with -v of extensions that it looks for, and goes on without.
_NEWS = ("Get HPM.x Capabilities", "Running Get", "Invalid completion code received")
# What ipmitool says where it is not let in; it says more with -v, and only then these.
_REFUSED = (
    (
        re.compile(r"HMAC is invalid|invalid integrity check value"),
        "refuses {verb} with the password of {user}",
    ),
    (re.compile(r"unauthorized name|invalid name length"), "refuses {verb} with the user {user}"),
    (
        re.compile(r"no matching|invalid (?:authentication|integrity|confidentiality) algorithm"),
        "refuses {verb} with cipher suite {cipher}: `cipher` says another, as a rule 17 or 3",
    ),
    (
        re.compile(r"[Pp]rivilege [Ll]evel|invalid role|privilege level requested"),
        "refuses {verb} to {user} as {privilege}: `privilege` says another",
    ),
)
_FULL = re.compile(r"insufficient resources")


class IpmiValues(Section):
    """What the inventory says of a BMC."""

    address: str = setting(ADDRESS, REQUIRED, "the BMC's")
    user: str = setting(TEXT, REQUIRED, "whom it lets in; may be empty")
    password: Secret = setting(SECRET, REQUIRED, "by what; may be empty")
    port: int = setting(PORT, 623, "where it listens")
    cipher: int = setting(SUITE, 3, "the cipher suite")
    privilege: str = setting(LEVEL, "OPERATOR", "as what the user logs in")
    reset: str = setting(RESET, "reset", "what a reset is: cycle turns it off for a while")


class Ipmi(PowerControl):
    """The BMC of one node."""

    takes = IpmiValues

    def __init__(
        self, values: IpmiValues, answers_within: float, networking: NetworkingSettings
    ) -> None:
        self.name = values.address
        self._said = values
        self._within = answers_within

    @classmethod
    def outlet(cls, values: IpmiValues, networking: NetworkingSettings) -> object:
        """Return where the BMC listens, whoever logs in."""
        return values.address, values.port

    async def is_on(self) -> bool:
        """Ask for the power state."""
        answer = await self._told("status", "status")
        if answer not in STATES:
            raise CardError(f"answers status with {answer!r}, expected on or off")
        return STATES[answer]

    async def send(self, order: str) -> None:
        """Send an order; raises CardError unless the BMC accepts it."""
        if order not in ORDERS:
            raise CardError(f"cannot do {order}: no control of its kind can")
        await self._told(order, self._said.reset if order == "reset" else order)

    async def _told(self, verb: str, power: str) -> str:
        """Return what `chassis power` of ipmitool says."""
        said = self._said
        password = await said.password.reveal()
        if len(password.encode()) > LONGEST_PASSWORD:
            raise CardError(
                f"cannot do {verb}: no password of IPMI has more than {LONGEST_PASSWORD} bytes"
            )
        words = [
            *("ipmitool", "-v", "-I", "lanplus", "-H", said.address, "-p", str(said.port)),
            *("-U", said.user, "-C", str(said.cipher), "-L", said.privilege, *PATIENCE),
        ]
        async with answering(verb, self._within):
            with in_memory(f"{password}\n") as file:
                words += ["-f", path_of(file)] if password else ["-P", ""]
                words += ["chassis", "power", power]
                ended = await run(verb, words, package="ipmitool", pass_fds=(file,))
        if ended.status:
            raise self._error(verb, ended.complaint)
        return last_line(ended.output)

    def _error(self, verb: str, complaint: bytes) -> CardError:
        said, lines = self._said, complaint.decode(errors="replace").splitlines()
        text = "\n".join(line for line in lines if not line.startswith(_NEWS))
        for found, words in _REFUSED:
            if found.search(text):
                return CardRefused(words.format(**vars(said), verb=verb))
        if _FULL.search(text):
            return CardError(f"refuses {verb}: it has no session left")
        return CardError(f"fails to do {verb}: {last_line(complaint) or 'it does not say why'}")
