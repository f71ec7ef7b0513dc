"""The client's command line, and how it is understood."""

from dataclasses import dataclass

from rhubarbe.frisbee import options
from rhubarbe.frisbee.admission import Expected
from rhubarbe.frisbee.errors import UsageError
from rhubarbe.frisbee.master import LONGEST_NAME, Method
from rhubarbe.frisbee.multicast import KEEP_ALIVE_S, MOST_KIB, RECEIVE_BUFFER
from rhubarbe.frisbee.tuning import Tuning
from rhubarbe.imaging.devices import STDOUT
from rhubarbe.ndz.manifest import Manifest

USAGE = """\
usage: rhubarbe-frisbee [-bdfhnNOqtz] [-i interface] [-k sockbuf_kb] [-T silence_s] [-K keepalive_s]
           [-C chunk_mb] [-W write_mb] [-M total_mb] [-R chunks] [-I redo_ms] [-r delay_s]
           [-s slice [-D type]] [-S server] [-u uuid] [-c keyfile]
           [--manifest place [--manifest-digest hex]]
           [--as-device] [--force] [--verify] [--json] -m group -p port disk
   or: rhubarbe-frisbee ... -S master -F image [-X methods] [-B busy_s] [-P host] disk
   or: rhubarbe-frisbee -S master -Q image

Receive an image from a frisbee server onto a disk, a file, or - for the standard output.
  -m group     multicast group, or the address of the server, which is not our own; -p port
  -i address   interface to use, by its address
  -S address   take blocks from this server only; with -F or -Q: ask this master server
  -F image     join the session in which the master server serves the image of this name
  -X methods   of these only: ucast, mcast, bcast, any, with commas (ucast,mcast)
  -B s         ask again after s seconds while the image is busy; -P address: ask for that host
  -Q image     only print whether we may have it; the exit status is 0 if so
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
_REFUSED = {
    "e": "encrypted images use an obsolete cipher (Blowfish); make the image again without it",
    "E": "events are not sent; --json tells what happens",
    "U": "traces are not kept; -d tells what is wrong, --json what happens",
}
_ONLY_IMAGES = "zsDuc"
_SILENCE = 60
_METHODS = {
    "ucast": Method.UNICAST,
    "mcast": Method.MULTICAST,
    "bcast": Method.BROADCAST,
    "any": Method.UNICAST | Method.MULTICAST | Method.BROADCAST,
}


@dataclass(frozen=True)
class ClientSettings:
    """The command line, understood; memory in MiB, times in seconds.

    With an `image`, `server` is the master server that is asked for it, and the session is not
    known yet.
    """

    disk: str
    group: str
    port: int
    interface: str
    is_broadcast: bool
    server: str
    image: str
    methods: Method
    busy_wait: int
    host: str
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
        "mpiSCWMTKRIrskDucFQXBP",
        long_flags=("as-device", "verify", "force", "json"),
        long_valued=("manifest", "manifest-digest"),
        refused=_REFUSED,
    )
    if given.has("h"):
        raise UsageError
    _check_together(given)
    half = given.number("M", 128, 2, 262144) // 2
    return ClientSettings(
        disk=given.arguments[0] if given.arguments else "",
        group=given.address("m"),
        port=given.number("p", 0, 1, 65535),
        interface=given.address("i"),
        is_broadcast=given.has("b"),
        server=given.address("S"),
        image=given.text("F") or given.text("Q"),
        methods=_methods(given.text("X", "ucast,mcast")),
        busy_wait=given.number("B", 0),
        host=given.address("P"),
        tuning=Tuning(
            buffers=given.number("C", half),
            read_ahead=given.number("R", 4, 1),
            redo=given.number("I", 1000) / 1000,
            silence=float(given.number("T", _SILENCE)),
            randomize=not given.has("O"),
            ends_first=not given.has("N"),
        ),
        write_mib=given.number("W", half),
        buffer_bytes=(given.number("k", 0, 0, MOST_KIB) << 10) or RECEIVE_BUFFER,
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
    needed = 0 if given.has("Q") else 1
    if len(given.arguments) != needed:
        which = "one disk is needed" if needed else "-Q only asks: no disk is needed"
        raise UsageError(f"{which}, not {len(given.arguments)}")
    _check_master(given)
    if given.has("D") and not given.has("s"):
        raise UsageError("-D sets the type of a slice: -s is needed with it")
    _check_manifest(given)
    for letter in _ONLY_IMAGES if given.has("N") else "":
        if given.has(letter):
            raise UsageError(f"-{letter} is for images, -N for files as they are")
    if needed and given.arguments[0] in STDOUT and (given.has("N") or given.has("json")):
        raise UsageError("neither -N nor --json goes with - for the standard output")


def _check_master(given: options.Given) -> None:
    """Raise UsageError where it is not clear which session to join."""
    if given.has("F") or given.has("Q"):
        _check_name(given)
        return
    if not given.has("m") or not given.has("p"):
        raise UsageError("-m GROUP and -p PORT are needed, or -S MASTER and -F IMAGE")
    for letter in "XBP":
        if given.has(letter):
            raise UsageError(f"-{letter} is for who asks a master server: with -S and -F")


def _check_name(given: options.Given) -> None:
    """Raise UsageError where a master server cannot be asked for the image."""
    if given.has("F") and given.has("Q"):
        raise UsageError("-F receives the image, -Q only asks: not both")
    if not given.has("S"):
        raise UsageError("-S MASTER is needed, with the address of the master server")
    for letter in "mpb":
        if given.has(letter):
            raise UsageError(f"-{letter}: the master server says where the image is served")
    name = given.text("F") or given.text("Q")
    if not 0 < len(name.encode(errors="surrogateescape")) < LONGEST_NAME:
        raise UsageError(f"the name of an image has 1 to {LONGEST_NAME - 1} bytes")


def _methods(text: str) -> Method:
    """Return the methods that a list names; raise UsageError."""
    methods = Method(0)
    for word in text.split(","):
        if word not in _METHODS:
            raise UsageError(f"option -X: '{word}' is none of {', '.join(_METHODS)}")
        methods |= _METHODS[word]
    return methods


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
