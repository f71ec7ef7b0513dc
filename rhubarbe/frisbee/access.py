"""Who may have which image: a file of rules, or whoever asks may have all."""

import ipaddress
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from rhubarbe.annexe.errors import NotOurs
from rhubarbe.frisbee.errors import UsageError
from rhubarbe.writers import may_others_write

ANYBODY = "all"
_LONGEST = 1 << 20


@dataclass(frozen=True, slots=True)
class Rule:
    """Images whose names fit a pattern are for hosts of these networks."""

    pattern: str
    networks: Sequence[ipaddress.IPv4Network]

    def fits(self, image: str) -> bool:
        """Whether the rule is on an image, by its name with or without `.ndz`."""
        return any(fnmatchcase(name, self.pattern) for name in (image, image.removesuffix(".ndz")))


_EVERYWHERE = ipaddress.IPv4Network("0.0.0.0/0")
EVERYTHING = Rule("*", [_EVERYWHERE])


@dataclass(frozen=True, slots=True)
class Access:
    """Rules, of which the first one that is on an image says who may have it; else nobody may."""

    rules: Sequence[Rule]

    def allows(self, host: str, image: str) -> bool:
        """Whether a host may have an image."""
        address = ipaddress.IPv4Address(host)
        rule = next((rule for rule in self.rules if rule.fits(image)), None)
        return rule is not None and any(address in network for network in rule.networks)

    def knows(self, host: str) -> bool:
        """Whether there is any image that a host may have."""
        address = ipaddress.IPv4Address(host)
        return any(address in network for rule in self.rules for network in rule.networks)


def read_access(path: str) -> Access:
    """Read the rules of a file; raise UsageError, NotOurs where others could write it, OSError."""
    # Without blocking: a pipe would wait for whoever writes into it.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise UsageError(f"{path}: is no file")
    with open(descriptor, encoding="utf-8", errors="surrogateescape") as file:  # noqa: PTH123
        owner = os.fstat(descriptor).st_uid
        if owner not in {0, os.geteuid()} or may_others_write(descriptor):
            raise NotOurs(
                f"{path}: is another user's, or others can write it;"
                f" as root: chown root {path} && chmod go-w {path}"
            )
        text = file.read(_LONGEST + 1)
        if len(text) > _LONGEST:  # rules that are cut short would be other rules
            raise UsageError(f"{path}: has more than {_LONGEST} characters")
        return parse_access(text, path)


def parse_access(text: str, path: str) -> Access:
    """Read rules, one a line: a pattern of names, then addresses, networks or `all`.

    Raises UsageError that names file and line.
    """
    rules = []
    for number, line in enumerate(text.splitlines(), 1):
        pattern, *hosts = line.partition("#")[0].split() or [""]
        if not pattern:
            continue
        try:
            networks = [_EVERYWHERE if h == ANYBODY else ipaddress.IPv4Network(h) for h in hosts]
        except ValueError as error:
            raise UsageError(f"{path}:{number}: {error}") from None
        rules.append(Rule(pattern, networks))
    return Access(rules)
