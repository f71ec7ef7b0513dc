"""What is said to the ramdisk's shell, and what its lines mean. Pure: text in, values out.

The shell is a root shell behind telnet that asks for no login, or behind ssh; usually busybox on a
terminal that echoes. Whatever a user typed is quoted before it gets there. The lines of frisbee and
imagezip are those of the Emulab tools, which ours print too.
"""

from rhubarbe.dialogue.disks import DisksTranscript, NodeDisks, list_disks
from rhubarbe.dialogue.engines import (
    IMAGE_NAME,
    AriaTranscript,
    Unzip,
    UnzipTranscript,
    fetch_by_aria2,
    receive_by_udpcast,
)
from rhubarbe.dialogue.images import (
    DISK_MARK,
    FrisbeeTranscript,
    ImageTranscript,
    ImagezipTranscript,
    Proof,
    read_image,
    write_image,
)
from rhubarbe.dialogue.measure import MOST_SAID, MOST_SAID_TO_A_LOOK, MOST_TOLD, Measure, Share
from rhubarbe.dialogue.rootdisk import ROOT_DISK, can_be_told, other_disk
from rhubarbe.dialogue.session import (
    BEGIN_MARK,
    NO_PROGRAM,
    STATUS_MARK,
    Ended,
    Line,
    Output,
    Percent,
    Transcript,
    require_ramdisk,
    script,
)
from rhubarbe.dialogue.stamps import (
    LONGEST_STAMP,
    STAMP_FILE,
    last_stamp,
    stamp,
)
from rhubarbe.dialogue.versions import VersionTranscript, ask_version

__all__ = [
    "BEGIN_MARK",
    "DISK_MARK",
    "IMAGE_NAME",
    "LONGEST_STAMP",
    "MOST_SAID",
    "MOST_SAID_TO_A_LOOK",
    "MOST_TOLD",
    "NO_PROGRAM",
    "ROOT_DISK",
    "STAMP_FILE",
    "STATUS_MARK",
    "AriaTranscript",
    "DisksTranscript",
    "Ended",
    "FrisbeeTranscript",
    "ImageTranscript",
    "ImagezipTranscript",
    "Line",
    "Measure",
    "NodeDisks",
    "Output",
    "Percent",
    "Proof",
    "Share",
    "Transcript",
    "Unzip",
    "UnzipTranscript",
    "VersionTranscript",
    "ask_version",
    "can_be_told",
    "fetch_by_aria2",
    "last_stamp",
    "list_disks",
    "other_disk",
    "read_image",
    "receive_by_udpcast",
    "require_ramdisk",
    "script",
    "stamp",
    "write_image",
]
