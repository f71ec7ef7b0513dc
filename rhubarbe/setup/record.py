"""What was made, in order, so that it can be undone: each thing as it was when it was made.

A thing is noted before it is made: what was cut short is known too.
"""

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from rhubarbe.errors import GatewayError, why
from rhubarbe.setup.machine import Machine
from rhubarbe.shared.directory import Directory
from rhubarbe.shared.own import read_trusted
from rhubarbe.shared.trust import Distrust

PLACE = Path("/var/lib/rhubarbe-setup")
NAME = "record.json"
VERSION = 1
LARGEST = 16 << 20

Noted = dict[str, Any]


@dataclass(slots=True)
class Record:
    """What rhubarbe-setup has made on a machine, and what it was told or found out for that."""

    machine: Machine
    answers: dict[str, Any] = field(default_factory=dict)
    made: dict[str, Noted] = field(default_factory=dict)

    @classmethod
    def read(cls, machine: Machine) -> Self:
        """Read what there is; raises GatewayError."""
        path = machine.at(PLACE / NAME)
        try:
            content = json.loads(read_trusted(path, LARGEST))
            if content["version"] != VERSION:
                raise GatewayError(f"{path}: of another version of rhubarbe-setup")
            return cls(machine, content["answers"], content["made"])
        except FileNotFoundError:
            return cls(machine)
        except OSError as error:
            raise GatewayError(f"{path}: {why(error)}") from error
        except (ValueError, KeyError, TypeError) as error:
            raise GatewayError(f"{path}: is no record of rhubarbe-setup's") from error

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Keep others from setting up the same machine meanwhile; raises GatewayError."""
        place = self.machine.at(PLACE)
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            with Directory.open(place.parent, follows=True) as above:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(place.name, dir_fd=above.descriptor)
                above.require_no_link(place.name)
                directory = Directory.open(place.name, above)
        except Distrust as error:
            raise GatewayError(str(error)) from error
        except OSError as error:
            raise GatewayError(f"{place}: {why(error)}; only root can set a gateway up") from error
        with directory:
            try:
                os.fchmod(directory.descriptor, 0o755)
                fcntl.flock(directory.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise GatewayError("another rhubarbe-setup is at work on this machine") from None
            yield

    def note(self, key: str, noted: Noted) -> None:
        """Note something, in place of what was noted of it; it stays where it was in the order."""
        if self.made.get(key) != noted:
            self.made[key] = noted
            self.save()

    def forget(self, key: str) -> None:
        """Note that something is not there any more."""
        if self.made.pop(key, None) is not None:
            self.save()

    def save(self) -> None:
        """Write it, whole; raises GatewayError."""
        content = {"version": VERSION, "answers": self.answers, "made": self.made}
        text = json.dumps(content, indent=1) + "\n"
        try:
            with Directory.open(self.machine.at(PLACE)) as directory:
                directory.replace(NAME, text.encode(), os.getuid())
        except OSError as error:
            raise GatewayError(f"{self.machine.at(PLACE)}: {why(error)}") from error

    def remove(self) -> None:
        """Remove the record itself: all is undone."""
        place = self.machine.at(PLACE)
        with contextlib.suppress(OSError), Directory.open(place.parent, follows=True) as above:
            with Directory.open(place.name, above) as directory:
                directory.unlink(NAME)
            os.rmdir(place.name, dir_fd=above.descriptor)
