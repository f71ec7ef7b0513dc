"""What the inventory says of a PDU's outlet, and how net-snmp's programs are told of it."""

import re

from rhubarbe.config.secrets import NO_SECRET, Secret
from rhubarbe.config.section import Section, ValueKind, setting
from rhubarbe.config.values import PORT, SECRET, TEXT, between, one_of
from rhubarbe.transports.kinds import ADDRESS, REQUIRED
from rhubarbe.transports.power.makes import MAKES, Make

LARGEST = 2**31
VERSIONS = ("1", "2c", "3")
AUTHENTICATIONS = ("MD5", "SHA", "SHA-224", "SHA-256", "SHA-384", "SHA-512")
PRIVACIES = ("DES", "AES", "AES-192", "AES-256")


def _outlet(text: str) -> str:
    if not re.fullmatch(r"[0-9]{1,5}(\.[0-9]{1,5}){0,3}", text):
        raise ValueError(text)
    return text


def _oid(text: str) -> str:
    oid = text.removeprefix(".")
    if not re.fullmatch(r"1(\.[0-9]{1,10}){5,40}(\.\{\})?", oid):
        raise ValueError(text)
    return oid


OID = ValueKind("an OID in numbers, perhaps with .{} at its end for the outlet", _oid)
VALUE = ValueKind("a whole number", between(-LARGEST, LARGEST - 1))


class SnmpValues(Section):
    """What the inventory says of an outlet."""

    address: str = setting(ADDRESS, REQUIRED, "the PDU's")
    outlet: str = setting(
        ValueKind("a number, or several with dots between them", _outlet), REQUIRED, "which of it"
    )
    make: str = setting(one_of(*MAKES), "", "what the PDU is")
    port: int = setting(PORT, 161, "where it listens")
    version: str = setting(one_of(*VERSIONS), "1", "of SNMP")
    community: Secret = setting(SECRET, NO_SECRET, "who may write, in versions 1 and 2c")
    user: str = setting(TEXT, "", "whom it lets in, in version 3")
    password: Secret = setting(SECRET, NO_SECRET, "of the user, 8 letters at least")
    privacy: Secret = setting(SECRET, NO_SECRET, "what is said is encrypted by, likewise")
    authentication: str = setting(one_of(*AUTHENTICATIONS), "SHA", "by what the password serves")
    encryption: str = setting(one_of(*PRIVACIES), "AES", "by what privacy serves")
    state_oid: str = setting(OID, "", "of another make: what shows whether the outlet is on")
    state_on: int = setting(VALUE, 1, "what it shows then")
    state_off: int = setting(VALUE, 0, "and else")
    control_oid: str = setting(OID, "", "what switches it, where that is another than state_oid")
    control_on: int = setting(VALUE, 1, "what is set to switch it on")
    control_off: int = setting(VALUE, 0, "and off")
    control_reset: int | None = setting(VALUE, None, "and to switch it off and on, if it can")

    @property
    def made(self) -> Make:
        """The make, or what is said in its place."""
        if self.make:
            return MAKES[self.make]
        oid = self.control_oid or self.state_oid
        orders = {"on": (oid, self.control_on), "off": (oid, self.control_off)}
        if self.control_reset is not None:
            orders["reset"] = (oid, self.control_reset)
        return Make(self.state_oid, (self.state_on,), (self.state_off,), orders)

    @property
    def agent(self) -> str:
        """Where it listens, as net-snmp's programs are told."""
        return f"udp:{self.address}:{self.port}"

    def at(self, oid: str) -> str:
        """Return the OID for the outlet."""
        return oid.format(self.made.index(self.outlet))

    def misfit(self) -> str:
        """Say what does not fit together; empty where it does."""
        if bool(self.make) == bool(self.state_oid):
            return "make: expected make, or state_oid and what belongs to it"
        if self.version != "3" and (self.user or not self.community):
            return f"community: version {self.version} wants one, and no user, as version 3 does"
        if self.version == "3" and (self.community or not self.user):
            return "user: version 3 wants one, and no community, as versions 1 and 2c do"
        if self.privacy and not self.password:
            return "password: expected where there is privacy"
        return ""

    async def configuration(self) -> str:
        """Return the lines of a snmp.conf; raises GatewayError."""
        if self.version != "3":
            return f"defCommunity {_quoted(await self.community.reveal())}\n"
        level = "authPriv" if self.privacy else "authNoPriv" if self.password else "noAuthNoPriv"
        lines = [f"defSecurityName {_quoted(self.user)}", f"defSecurityLevel {level}"]
        if self.password:
            lines.append(f"defAuthType {self.authentication}")
            lines.append(f"defAuthPassphrase {_quoted(await self.password.reveal())}")
        if self.privacy:
            lines.append(f"defPrivType {self.encryption}")
            lines.append(f"defPrivPassphrase {_quoted(await self.privacy.reveal())}")
        return "".join(f"{line}\n" for line in lines)


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
