"""The image client: `rhubarbe-frisbee [options] -m GROUP -p PORT DISK`."""

import random
import signal
import sys
import time
from dataclasses import dataclass

from rhubarbe.frisbee import options, report
from rhubarbe.frisbee.disks import ImageDisk, RawDisk
from rhubarbe.frisbee.errors import FrisbeeError, UsageError
from rhubarbe.frisbee.fetching import Fetching
from rhubarbe.frisbee.inuse import refuse_if_in_use
from rhubarbe.frisbee.multicast import RECEIVE_BUFFER, Channel, Session, own_address
from rhubarbe.frisbee.receiving import Tuning
from rhubarbe.imaging.errors import ImagingError
from rhubarbe.ndz.errors import NdzError, NotAnImage

USAGE = """\
usage: rhubarbe-frisbee [-bdfnNOqz] [-i interface] [-k sockbuf_kb] [-T silence_s] [-K keepalive_s]
           [-C chunk_mb] [-W write_mb] [-M total_mb] [-R chunks] [-I redo_ms] [-r delay_s]
           [-s slice] [-S server] [--as-device] [--force] [--verify] -m group -p port disk

Receive an image from a frisbee server onto a disk, a file, or - for the standard output.
  -m group     multicast group, or the address of the server; -p port
  -i address   interface to use, by its address
  -S address   take blocks from this server only
  -N           write the file as it is: it is not an image, or is to be kept as one
  -z           make free space zero; -f: bypass the page cache; -s n: into slice n
  -T s         give up when the server is silent for s seconds (60); 0: never
  -K s         remind switches of the group after s idle seconds
  -C mb        memory for chunks (64), -W mb: for writing (64), -M mb: half for each
  -R n         chunks asked for ahead (4); -I ms: before asking again (1000); -O: in order
  -r s         wait up to s seconds before joining
  -q           no dots, no statistics; -b: broadcast; -d: debug; -n: accepted for compatibility
  --as-device  a regular file is a disk: its size and other content stay
  --force      write also to a device that is in use
  --verify     read back from the disk what was written, and compare

Example: rhubarbe-frisbee -i 192.168.3.4 -m 234.5.6.1 -p 10001 /dev/sda
"""
_SILENCE = 60


@dataclass(frozen=True)
class Settings:
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
    given: options.Given


def read_settings(words: list[str]) -> Settings:
    """Read the command line.

    Raises:
        UsageError: it cannot be understood, or lacks disk, group or port.

    """
    long_flags = {"as-device": "as-device", "verify": "verify", "force": "force"}
    given = options.parse(words, "bdfhnNOqtz", "mpiSCWMTKRIrsk", long_flags)
    if given.has("h"):
        raise UsageError
    if len(given.arguments) != 1:
        raise UsageError(f"one disk is needed, not {len(given.arguments)}")
    if not given.has("m") or not given.has("p"):
        raise UsageError("-m GROUP and -p PORT are needed")
    half = given.number("M", 128, 2, 262144) // 2
    return Settings(
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
        ),
        write_mib=given.number("W", half),
        buffer_bytes=(given.number("k", 0) << 10) or RECEIVE_BUFFER,
        keep_alive=given.number("K", 0),
        delay=given.number("r", 0),
        slice_number=given.number("s", 1, 1, 128) if given.has("s") else None,
        given=given,
    )


def _receive(settings: Settings, log: report.Report) -> None:
    interface = settings.interface or own_address(settings.group)
    session = Session(settings.group, settings.port, interface, settings.given.has("b"))
    delay = random.random() * settings.delay  # noqa: S311 - spreads the joins
    with Channel(session, exclusive=False, buffer_bytes=settings.buffer_bytes) as channel:
        _announce(settings, channel, log)
        time.sleep(delay)
        fetching = Fetching(
            channel,
            settings.tuning,
            log,
            raw=settings.given.has("N"),
            server=settings.server,
            keep_alive=settings.keep_alive,
            quiet=settings.given.has("q"),
            debug=settings.given.has("d"),
        )
        with fetching:
            _run(settings, fetching, log, delay)


def _announce(settings: Settings, channel: Channel, log: report.Report) -> None:
    log.line(f"Maximum socket buffer size of {channel.buffer_bytes} bytes")
    if channel.session.is_multicast:
        log.line(f"Using Multicast {settings.group}")
    log.line(f"Bound to {settings.group}:{settings.port}")
    if settings.given.has("T") and settings.tuning.silence:
        seconds = f"{settings.tuning.silence:.0f}"
        log.line(f"Quit if no messages from server after {seconds} seconds")
    if settings.keep_alive and channel.session.is_multicast:
        log.line(f"Enabling MC keepalive at {settings.keep_alive} seconds")


def _run(settings: Settings, fetching: Fetching, log: report.Report, delay: float) -> None:
    given = settings.given
    if not given.has("force"):
        refuse_if_in_use(settings.disk)
    disk: ImageDisk | RawDisk
    if given.has("N"):
        disk = RawDisk(settings.disk, fetching.chunk_done, verify=given.has("verify"))
    else:
        disk = ImageDisk(
            settings.disk,
            fetching.chunk_done,
            memory_mib=(settings.write_mib or 1024) + settings.tuning.buffers,
            zero_free=given.has("z"),
            as_device=given.has("as-device"),
            slice_number=settings.slice_number,
            direct=given.has("f"),
            verify=given.has("verify"),
        )
    with disk:
        fetching.join()
        disk.start(fetching.receiver.size)
        fetching.fetch(disk)
        figures = disk.finish()
        if given.has("verify"):
            compared, from_disk = disk.verify()
            log.line(
                f"Verified {compared} bytes" + ("" if from_disk else " (perhaps of the page cache)")
            )
        fetching.leave(figures, write_mib=settings.write_mib, delay=delay)


def main(argv: list[str] | None = None) -> int:
    """Run the client; return its exit status. Signals end it as they end the original: at once."""
    for number in (signal.SIGINT, signal.SIGPIPE):
        signal.signal(number, signal.SIG_DFL)
    log = report.Report(2, time.monotonic())
    words = sys.argv[1:] if argv is None else argv
    if text := options.explanation(words, "rhubarbe-frisbee", USAGE):
        sys.stdout.write(text)
        return 0
    try:
        _receive(read_settings(words), log)
    except UsageError as error:
        log.write((f"rhubarbe-frisbee: {error}\n" if error.args else "") + USAGE)
        return error.exit_status
    except FrisbeeError as error:
        log.line(str(error))
        return error.exit_status
    except NotAnImage as error:
        log.line(f"Bad Magic Number! {error}")
        return 1
    except (ImagingError, NdzError, OSError) as error:
        log.line(str(error))
        return 1
    return 0
