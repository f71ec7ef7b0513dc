"""What a node must show over ssh, once it runs what it was loaded with."""

from collections.abc import Mapping

from rhubarbe import dialogue
from rhubarbe.concurrency.threads import in_passing
from rhubarbe.errors import ImageError
from rhubarbe.inventory import Entry
from rhubarbe.operations.command import Command
from rhubarbe.repository import OpenImage, stamps_of
from rhubarbe.repository.inside import RootPartition
from rhubarbe.repository.sectors import Deadline

BOOT_ONLY = "what the nodes run is proven by the time of their boot only"


async def stamps_to_show(image: OpenImage, command: Command) -> Mapping[str, str | None]:
    """Return for each node the last stamp on its root as the image has it, perhaps empty.

    None, with a notice, where that cannot be known: then the time of the boot is the only proof.
    """
    roots = {entry.name: _root(command, entry) for entry in command.entries}
    told: set[str] = set()
    stamps: dict[RootPartition, str | None] = {}
    for root in set(roots.values()):
        try:
            stamps[root] = await _stamp_to_show(image, root)
        except ImageError as error:
            stamps[root] = None
            if str(error) not in told:
                command.notice(f"{BOOT_ONLY}: {error}")
            told.add(str(error))
    return {name: stamps[root] for name, root in roots.items()}


def _root(command: Command, entry: Entry) -> RootPartition:
    frisbee = command.settings.for_node(entry.number, entry.name, entry.disk).frisbee
    return RootPartition.of(frisbee.root_partition, frisbee.hard_drive)


async def _stamp_to_show(image: OpenImage, root: RootPartition) -> str:
    """Read it; raises ImageError."""
    deadline = Deadline()
    try:
        return dialogue.last_stamp(await in_passing(None, stamps_of, image.file, root, deadline))
    except ImageError as error:
        raise ImageError(str(error).replace(image.file, str(image.path))) from error
    finally:
        deadline.end()
