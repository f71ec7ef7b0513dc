"""The client's command line, and how it is understood."""

from dataclasses import dataclass

from rhubarbe.frisbee import options
from rhubarbe.frisbee.admission import Expected
from rhubarbe.frisbee.errors import UsageError
from rhubarbe.frisbee.multicast import KEEP_ALIVE_S, RECEIVE_BUFFER
from rhubarbe.frisbee.tuning import Tuning
from rhubarbe.imaging.devices import STDOUT
from rhubarbe.ndz.manifest import Manifest

USAGE = """\
usage: rhubarbe-frisbee [-bdfhnNOqtz] [-i interface] [-k sockbuf_kb] [-T silence_s] [-K keepalive_s]
           [-C chunk_mb] [-W write_mb] [-M total_mb] [-R chunks] [-I redo_ms] [-r delay_s]
           [-s slice [-D type]] [-S server] [-u uuid] [-c keyfile]
           [--manifest place [--manifest-digest hex]]
           [--as-device] [--force] [--verify] [--json] -m group -p port disk

Receive an image from a frisbee server onto a disk, a file, or - for the standard output.
  -m group     multicast group, or the address of the server, which is not our own; -p port
  -i address   interface to use, by its address
  -S address   take blocks from this server only
  -N           write the file as it is: it is not an image, or is to be kept as one
  -z           make free space zero; -f: bypass the page cache
  -s n         write into slice n; -D type: then set its type in the MBR, such as 0x83
  -u uuid      refuse an image of another UUID; -c keyfile: or not signed with this public key
  -T s         give up when the server is silent for s seconds (60), also while joining; 0: never
  -K s         remind switches of the group after s idle seconds (3); 0: never
  -C mb        memory for chunks (64), 0: for all of them; -W mb: for writing (64); -M mb: half each
  -R n         chunks asked for ahead (4); -I ms: before asking again (1000); -O: in order
  -r s         wait up to s seconds before joining; -k kb: socket buffers (16384)
  -q           no dots, no statistics; -b: broadcast; -d: debug; -n, -t: accepted, without effect
  --manifest place   write no chunk but those of the image whose manifest is there: in a file, -
               for the standard input, or at HOST:PORT; --manifest-digest HEX says which it must be
  --as-device  a regular file is a disk: its size and other content stay
  --force      write also to a device that is in use
  --verify     read back from the disk what was written, and compare
  --json       tell on standard output what happens, one JSON object a line: Joined, Progress,
               Rejected, Verified, and Finished or Failed; for people, standard error stays as it is
  --help, --version

A disk that cannot take the image (too small, other sectors) is refused before anything is written.
Exit status: 0 all is on the disk; 1 wrong usage, not this image, or the disk does not take it;
98 the port is in use; 110 the server was silent; 255 other network errors.

Example: rhubarbe-frisbee -i 192.168.3.4 -m 234.5.6.1 -p 10001 /dev/sda
"""
_MASTER = "image names are for master servers, which this client does not ask; give -m and -p"
_REFUSED = {
    "e": "encrypted images use an obsolete cipher (Blowfish); make the image again without it",
    "E": "events are not sent; --json tells what happens",
    "U": "traces are not kept; -d tells what is wrong, --json what happens",
    **dict.fromkeys("FQPXB", _MASTER),
}
_ONLY_IMAGES = "zsDuc"
_SILENCE = 60


@dataclass(frozen=True)
class ClientSettings:
    """The command line, understood; memory in MiB, times in seconds."""

    disk: str
    group: str
    port: int
    interface: str
    server: str
    tuning: Tuning
    write_mib: int
    buffer_bytes: int
    keep_alive: int
    delay: int
    slice_number: int | None
    slice_type: int
    expected: Expected
    manifest_place: str
    manifest_digest: str | None
    given: options.Given

    def manifest(self) -> "Manifest | None":
        """Fetch the manifest of the image, if one was named; raise BadManifest, or OSError."""
        if not self.manifest_place:
            return None
        from rhubarbe.imaging.vouching import LIMIT_S, read_manifest  # only on demand

        limit_s = min(LIMIT_S, self.tuning.silence or LIMIT_S)
        return read_manifest(self.manifest_place, self.manifest_digest, limit_s)


def read_settings(words: list[str]) -> ClientSettings:
    """Read the command line.

    Raises:
        UsageError: it cannot be understood, or lacks disk, group or port.

    """
    given = options.parse(
        words,
        "bdfhnNOqtz",
        "mpiSCWMTKRIrskDuc",
        long_flags=("as-device", "verify", "force", "json"),
        long_valued=("manifest", "manifest-digest"),
        refused=_REFUSED,
    )
    if given.has("h"):
        raise UsageError
    _check_together(given)
    half = given.number("M", 128, 2, 262144) // 2
    return ClientSettings(
        disk=given.arguments[0],
        group=given.address("m"),
        port=given.number("p", 0, 1, 65535),
        interface=given.address("i"),
        server=given.address("S"),
        tuning=Tuning(
            buffers=given.number("C", half),
            read_ahead=given.number("R", 4, 1),
            redo=given.number("I", 1000) / 1000,
            silence=float(given.number("T", _SILENCE)),
            randomize=not given.has("O"),
            ends_first=not given.has("N"),
        ),
        write_mib=given.number("W", half),
        buffer_bytes=(given.number("k", 0) << 10) or RECEIVE_BUFFER,
        keep_alive=given.number("K", KEEP_ALIVE_S),
        delay=given.number("r", 0),
        slice_number=given.number("s", 1, 1, 128) if given.has("s") else None,
        slice_type=given.number("D", 0, 1, 255),
        expected=Expected(given.text("u"), given.text("c")),
        manifest_place=given.text("manifest"),
        manifest_digest=given.text("manifest-digest") if given.has("manifest-digest") else None,
        given=given,
    )


def _check_together(given: options.Given) -> None:
    """Raise UsageError where something is lacking, or does not go with something else."""
    if len(given.arguments) != 1:
        raise UsageError(f"one disk is needed, not {len(given.arguments)}")
    if not given.has("m") or not given.has("p"):
        raise UsageError("-m GROUP and -p PORT are needed")
    if given.has("D") and not given.has("s"):
        raise UsageError("-D sets the type of a slice: -s is needed with it")
    _check_manifest(given)
    for letter in _ONLY_IMAGES if given.has("N") else "":
        if given.has(letter):
            raise UsageError(f"-{letter} is for images, -N for files as they are")
    if given.arguments[0] in STDOUT and (given.has("N") or given.has("json")):
        raise UsageError("neither -N nor --json goes with - for the standard output")


def _check_manifest(given: options.Given) -> None:
    """Raise UsageError where a manifest cannot be where it is said to be, or have that digest."""
    if given.has("manifest-digest") and not given.has("manifest"):
        raise UsageError("--manifest-digest is of a manifest: --manifest is needed with it")
    if not given.has("manifest"):
        return
    from rhubarbe.imaging.errors import UsageError as Refused
    from rhubarbe.imaging.vouching import refuse_odd

    digest = given.text("manifest-digest") if given.has("manifest-digest") else None
    try:
        refuse_odd(given.text("manifest"), digest)
    except Refused as error:
        raise UsageError(str(error)) from error
