"""The image server: `rhubarbe-frisbeed [options] -m GROUP -p PORT IMAGE`."""

import os
import signal
import stat
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from types import FrameType

from rhubarbe.annexe.errors import NotOurs
from rhubarbe.annexe.places import open_to_tell
from rhubarbe.frisbee import options, report
from rhubarbe.frisbee.errors import FrisbeeError, NotOffered, PortInUse, UsageError
from rhubarbe.frisbee.image import ServedImage
from rhubarbe.frisbee.multicast import (
    KEEP_ALIVE_S,
    LONGEST_TRAIN,
    MOST_KIB,
    RECEIVE_BUFFER,
    Channel,
    SessionAddress,
    own_address,
)
from rhubarbe.frisbee.pacing import BITS_PER_BLOCK, MOST_BITS, Pacer
from rhubarbe.frisbee.serving import Serving
from rhubarbe.text import sanitise

USAGE = """\
usage: rhubarbe-frisbeed [-dDb] [-i interface] [-k sockbuf_kb] [-T idle_s] [-K keepalive_s]
           [-W bits_per_s | -B burst_blocks -G gap_us] [-R blocks] [-A file]
           -m group -p port|low-high image

Serve an image to all the clients of a multicast group.
  -m group     multicast group, or the address of the only client, which is not our own
  -p port      port, the first free one of a range, or 0: the kernel's choice
  -i address   interface to use, by its address
  -W bps       bandwidth in bits per second, a block counting for 8976
  -B n -G us   instead: bursts of n blocks (16), one each so many us (2000); -G 0: no limit
  -D           send less while packets get lost
  -T s         end after s seconds without requests (1800); 0: never; -1: when all clients have left
  -K s         remind switches of the group after s idle seconds (3); 0: never
  -A file      write the address and port there when ready
  --no-parity  do not combine repairs, also while all clients are rhubarbe-frisbee
  -k kb        socket buffers; -b: broadcast; -d: say what happens, -dd: each request too
  -R n         accepted for compatibility: what is sent is read right into the packets; so is -t,
               without effect: no traces are kept

Where the environment has FRISBEED_RATES=N, other bandwidths in bits per second, a line each, are
read from the pipe of that number while it serves.

Example: rhubarbe-frisbeed -i 192.168.3.100 -W 500000000 -m 234.5.6.1 -p 10001-10020 ubuntu.ndz
"""
_REFUSED = dict.fromkeys("eE", "an image is served as it is; whoever made it may have encrypted it")


@dataclass(frozen=True)
class ServerSettings:
    """The command line, understood; ``bandwidth`` is 0 when bursts and gaps were given instead."""

    image: str
    group: str
    ports: tuple[int, int]
    interface: str
    broadcast: bool
    buffer_bytes: int
    idle_limit: int
    keep_alive: int
    bandwidth: int
    burst: int
    gap_us: int
    dynamic: bool
    address_file: str
    debug: int
    parity: bool

    def pacer(self) -> Pacer:
        """Return the pacer of ``-W``, or else of ``-B`` and ``-G``."""
        if self.bandwidth:
            return Pacer.of_bandwidth(self.bandwidth, LONGEST_TRAIN)
        return Pacer.of_bursts(self.burst, self.gap_us, LONGEST_TRAIN)


def read_settings(words: list[str]) -> ServerSettings:
    """Read the command line.

    Raises:
        UsageError: it cannot be understood, or lacks image, group or port.

    """
    given = options.parse(words, "dhbDt", "pkmiTRBGWKA", ["no-parity"], refused=_REFUSED)
    if given.has("h"):
        raise UsageError
    if len(given.arguments) != 1:
        raise UsageError(f"one image is needed, not {len(given.arguments)}")
    if not given.has("m") or not given.has("p"):
        raise UsageError("-m GROUP and -p PORT are needed")
    return ServerSettings(
        image=given.arguments[0],
        group=given.address("m"),
        ports=_port_range(given.text("p")),
        interface=given.address("i"),
        broadcast=given.has("b"),
        buffer_bytes=(given.number("k", 0, 0, MOST_KIB) << 10) or RECEIVE_BUFFER,
        idle_limit=given.number("T", 1800, -(1 << 31)),
        keep_alive=given.number("K", KEEP_ALIVE_S),
        bandwidth=given.number("W", 0, BITS_PER_BLOCK, MOST_BITS),
        burst=given.number("B", 16, 1),
        gap_us=given.number("G", 2000),
        dynamic=given.has("D"),
        address_file=given.text("A"),
        debug=given.count("d"),
        parity=not given.has("no-parity"),
    )


def _port_range(text: str) -> tuple[int, int]:
    low, _, high = text.partition("-")
    first = options.number("p", low, 0, 65535)
    return first, options.number("p", high, first, 65535) if high else first


class _HungUp(Exception):
    """SIGHUP came."""


def _hang_up(_number: int, _frame: FrameType | None) -> None:
    raise _HungUp


def _open_channel(settings: ServerSettings) -> Channel:
    """Open the session on the first port of the range that is free."""
    interface = settings.interface or own_address(settings.group)
    problem: FrisbeeError = PortInUse("no port")
    low, high = settings.ports
    for port in range(low, high + 1):
        session = SessionAddress(settings.group, port, interface, settings.broadcast)
        try:
            return Channel(session, exclusive=True, buffer_bytes=settings.buffer_bytes)
        except PortInUse as error:
            problem = error
    raise type(problem)(f"{problem}\nCould not bind {settings.group}:{low}!") from problem


def _tell_address(path: str, text: str) -> None:
    """Write the session's address to a file or an inherited descriptor, and close that."""
    try:
        with os.fdopen(open_to_tell(path), "w") as file:
            file.write(text)
        name = path.removeprefix("/dev/fd/")
        if name != path and name.isdecimal() and int(name) > sys.stderr.fileno():
            os.close(int(name))
    except NotOurs as error:
        raise FrisbeeError(f"Cannot write the address: {error}") from error
    except OSError as error:
        raise FrisbeeError(f"Cannot write the address to {path}: {error.strerror}") from error


def _rates() -> int | None:
    """Return the pipe that other bandwidths come by; None where there is none."""
    text = os.environ.get("FRISBEED_RATES", "")
    with suppress(OSError, ValueError, OverflowError):
        if stat.S_ISFIFO(os.fstat(number := int(text)).st_mode):
            os.set_blocking(number, False)
            return number
    return None


def _serve(settings: ServerSettings, log: report.LineReport) -> None:
    image = ServedImage(settings.image)
    wake, waker = os.pipe()
    os.set_blocking(waker, False)
    try:
        with _open_channel(settings) as channel:
            channel.deaf_to_blocks()
            signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, lambda _number, _frame: None)
            signal.signal(signal.SIGHUP, _hang_up)
            serving = Serving(
                image,
                channel,
                settings.pacer(),
                log,
                debug=settings.debug,
                idle_limit=settings.idle_limit,
                keep_alive=settings.keep_alive,
                dynamic=settings.dynamic,
                rates=_rates(),
                parity=settings.parity,
            )
            serving.announce()
            if settings.address_file:
                _tell_address(settings.address_file, f"{settings.group}:{channel.port}\n\0")
            serving.run(wake)
            serving.close_books()
            log.line("Exiting!")
    finally:
        with suppress(ValueError):
            signal.set_wakeup_fd(-1)
        os.close(wake)
        os.close(waker)
        image.close()


def main(argv: list[str] | None = None) -> int:
    """Run the server; return its exit status."""
    log = report.LineReport(2, time.monotonic())
    words = sys.argv[1:] if argv is None else argv
    if text := options.explanation(words, "rhubarbe-frisbeed", USAGE):
        sys.stdout.write(text)
        return 0
    try:
        _serve(read_settings(words), log)
    except NotOffered as error:
        log.line(f"rhubarbe-frisbeed: {sanitise(str(error))}")
        return error.exit_status
    except UsageError as error:
        log.write(options.correction(error, "rhubarbe-frisbeed", USAGE))
        return error.exit_status
    except FrisbeeError as error:
        log.line(sanitise(str(error)))
        return error.exit_status
    except _HungUp:
        log.line("Caught signal 1. Exiting ...")
        return 1
    return 0
