"""The image client: `rhubarbe-frisbee [options] -m GROUP -p PORT DISK`."""

import random
import signal
import sys
import threading
import time
from contextlib import nullcontext
from dataclasses import asdict

from rhubarbe.disk.errors import DiskError
from rhubarbe.frisbee import card, options, report
from rhubarbe.frisbee.disks import (
    ChunkSink,
    Figures,
    ImageDisk,
    ManifestCheck,
    RawDisk,
    refuse_slice_type,
    set_slice_type,
)
from rhubarbe.frisbee.errors import FrisbeeError, NotOffered, UsageError
from rhubarbe.frisbee.fetching import Fetching
from rhubarbe.frisbee.lookup import describe, with_session
from rhubarbe.frisbee.multicast import Channel, SessionAddress, own_address
from rhubarbe.frisbee.settings import USAGE, ClientSettings, read_settings
from rhubarbe.frisbee.tuning import Tuning
from rhubarbe.imaging.restore import Target
from rhubarbe.ndz.errors import NdzError, NotAnImage
from rhubarbe.ndz.manifest import Manifest
from rhubarbe.text import sanitise

_IN_ONE_LINE = 3
"""So many remarks on what strangers sent are put into the one line that tells of a failure."""


class _Teller:
    """Writes events on a client's progress; `chunk_done` is called in the threads of its disk."""

    def __init__(self, events: report.Events) -> None:
        self._events = events
        self._session: Fetching | None = None
        self._start = time.monotonic()
        self._lock = threading.Lock()
        self._chunks = self._effective = self._rejected = 0

    def follow(self, fetching: Fetching) -> None:
        """Tell of this session from now on."""
        self._session = fetching

    @property
    def _fetching(self) -> Fetching:
        if self._session is None:
            raise RuntimeError("there is no session to tell of")
        return self._session

    @property
    def _seconds(self) -> float:
        return round(time.monotonic() - self._start, 3)

    def joined(self) -> None:
        """Tell that the size of the file is known: seconds count from now on."""
        self._start = time.monotonic()
        size, chunks = self._fetching.receiver.size, self._fetching.receiver.chunks
        self._events.tell("Joined", client=self._fetching.id, chunks=chunks, bytes=size)

    def chunk_done(self, index: int, effective: int, kind: str) -> None:
        """Note that a chunk is written, which settles ``effective`` bytes of the disk."""
        with self._lock:
            self._chunks += 1
            self._effective += effective
            self._events.progress(
                self._seconds,
                self._fetching.receiver.chunks - self._chunks,
                chunks_done=self._chunks,
                bytes_effective=self._effective,
                seconds=self._seconds,
            )
        self._fetching.chunk_done(index, effective, kind)

    def chunk_rejected(self, index: int) -> None:
        """Note that a chunk is not the image's; the first of them is told at once."""
        with self._lock:
            self._rejected += 1
            if self._rejected == 1:
                server = self._fetching.peers.server
                self._events.tell("Rejected", chunk=index, server=server, seconds=self._seconds)
        self._fetching.chunk_rejected(index)

    def verified(self, compared: int, *, from_disk: bool) -> None:
        """Tell how many bytes were read back, and whether all came from the disk, not a cache."""
        self._events.tell("Verified", bytes=compared, from_disk=from_disk, seconds=self._seconds)

    def finished(self, figures: Figures) -> None:
        """Tell that all is on the disk, and what it took."""
        receiver, counts = self._fetching.receiver, self._fetching.receiver.counts
        self._events.tell(
            "Finished",
            ok=True,
            exit_status=0,
            seconds=self._seconds,
            chunks=receiver.chunks,
            bytes=receiver.size,
            bytes_effective=figures.effective,
            bytes_actual=figures.actual,
            writes=figures.writes,
            joins=counts.joins,
            requests=counts.requests,
            requests_repeated=counts.repeated_requests,
            blocks_lost=counts.lost_blocks,
            blocks_twice=counts.duplicate_block + counts.duplicate_chunk,
            **self._strangers,
        )

    def failed(self, text: str, status: int) -> list[str]:
        """Tell of a failure; return the lines for people, of which the last one would do alone."""
        session, strangers = self._session, {}
        oddities = session.oddities if session else []
        if session:
            strangers = self._strangers
            text = "; ".join([text, *oddities[:_IN_ONE_LINE]])
        self._events.tell("Failed", ok=False, exit_status=status, error=text, **strangers)
        return [*oddities[_IN_ONE_LINE:], sanitise(text)]

    @property
    def _strangers(self) -> dict[str, object]:
        session, peers = self._fetching, self._fetching.peers
        ignored = [asdict(each) for each in peers.ignored]
        rejected = {"chunks_rejected": session.rejected, "rejections": session.rejections}
        return {"server": peers.server, **rejected, "ignored": ignored}


def _receive(settings: ClientSettings, log: report.LineReport, teller: _Teller) -> None:
    settings = with_session(settings, log.line)
    interface = settings.interface or own_address(settings.group)
    session = SessionAddress(settings.group, settings.port, interface, settings.is_broadcast)
    delay = random.random() * settings.delay  # noqa: S311 - spreads the joins
    with Channel(session, exclusive=False, buffer_bytes=settings.buffer_bytes) as channel:
        _announce(settings, channel, log)
        time.sleep(delay)
        manifest = settings.manifest()
        target = None if settings.given.has("N") else _open_target(settings)
        chunks = manifest.chunks if manifest else 0
        with target or nullcontext(), _fetching(settings, channel, log, target, chunks) as fetching:
            teller.follow(fetching)
            with _disk(settings, target, teller, log, manifest) as disk:
                figures = _fetch(settings, fetching, disk, log, teller)
                fetching.leave(figures, write_mib=settings.write_mib, delay=delay)
                teller.finished(figures)


def _announce(settings: ClientSettings, channel: Channel, log: report.LineReport) -> None:
    log.line(f"Maximum socket buffer size of {channel.buffer_bytes} bytes")
    if channel.session.is_multicast:
        log.line(f"Using Multicast {settings.group}")
    log.line(f"Bound to {settings.group}:{settings.port}")
    if settings.given.has("T") and settings.tuning.silence:
        seconds = f"{settings.tuning.silence:.0f}"
        log.line(f"Quit if no messages from server after {seconds} seconds")
    if settings.given.has("K") and settings.keep_alive and channel.session.is_multicast:
        log.line(f"Enabling MC keepalive at {settings.keep_alive} seconds")
    if text := card.advice(channel, settings.buffer_bytes):
        log.line(text)


def _open_target(settings: ClientSettings) -> Target:
    if settings.slice_type:
        refuse_slice_type(settings.disk, settings.slice_number or 0, settings.slice_type)
    return Target.open(
        settings.disk,
        zero_free=settings.given.has("z"),
        keep_size=settings.given.has("as-device"),
        slice_number=settings.slice_number,
        direct=settings.given.has("f"),
        force=settings.given.has("force"),
        verifies=settings.given.has("verify"),
    )


def _tuning(settings: ClientSettings, target: Target | None) -> Tuning:
    if target is None or not target.is_ordered:
        return settings.tuning
    # What other clients have asked for comes in any order, and waits in buffers for its turn.
    return settings.tuning._replace(buffers=0, randomize=False, ends_first=False)


def _fetching(
    settings: ClientSettings,
    channel: Channel,
    log: report.LineReport,
    target: Target | None,
    chunks: int,
) -> Fetching:
    return Fetching(
        channel,
        _tuning(settings, target),
        log,
        raw=settings.given.has("N"),
        server=settings.server,
        chunks=chunks,
        keep_alive=settings.keep_alive,
        quiet=settings.given.has("q"),
        debug=settings.given.has("d"),
    )


def _disk(
    settings: ClientSettings,
    target: Target | None,
    teller: _Teller,
    log: report.LineReport,
    manifest: "Manifest | None",
) -> ChunkSink:
    given = settings.given
    vouching = ManifestCheck(manifest, teller.chunk_rejected) if manifest else None
    verify = given.has("verify")
    if target is None:
        return RawDisk(
            settings.disk,
            teller.chunk_done,
            keep_size=given.has("as-device"),
            verify=verify,
            force=given.has("force"),
            vouching=vouching,
        )
    return ImageDisk(
        target,
        teller.chunk_done,
        settings.expected,
        memory_mib=(settings.write_mib or 1024) + settings.tuning.buffers,
        verify=verify,
        vouching=vouching,
        say=log.line,
    )


def _fetch(
    settings: ClientSettings,
    fetching: Fetching,
    disk: ChunkSink,
    log: report.LineReport,
    teller: _Teller,
) -> Figures:
    """Receive all of it onto the disk, and do with it what else was asked for."""
    fetching.join()
    teller.joined()
    disk.start(fetching.receiver.size)
    fetching.fetch(disk)
    figures = disk.finish()
    if settings.given.has("verify"):
        compared, from_disk = disk.verify()
        doubt = "" if from_disk else " (perhaps from the page cache)"
        log.line(f"Verified {compared} bytes{doubt}")
        teller.verified(compared, from_disk=from_disk)
    if settings.slice_type:
        set_slice_type(settings.disk, settings.slice_number or 0, settings.slice_type)
        log.line(f"Set partition {settings.slice_number} type to 0x{settings.slice_type:04X}")
    return figures


def _failure(error: Exception) -> tuple[str, int]:
    """Return what is said of an error, and the exit status."""
    match error:
        case FrisbeeError():
            return str(error), error.exit_status
        case NotAnImage():
            return f"Bad Magic Number! {error}", 1
        case _:
            return str(error), 1


def _manifests() -> str:
    from rhubarbe.ndz.manifest import UNDERSTOOD  # only for who asks

    return UNDERSTOOD


def main(argv: list[str] | None = None) -> int:
    """Run the client; return its exit status. Signals end it as they end the original: at once."""
    for number in (signal.SIGINT, signal.SIGPIPE):
        signal.signal(number, signal.SIG_DFL)
    log = report.LineReport(2, time.monotonic())
    words = sys.argv[1:] if argv is None else argv
    if text := options.explanation(words, "rhubarbe-frisbee", USAGE, _manifests):
        sys.stdout.write(text)
        return 0
    try:
        settings = read_settings(words)
    except NotOffered as error:
        log.line(f"rhubarbe-frisbee: {sanitise(str(error))}")
        return error.exit_status
    except UsageError as error:
        log.write(options.correction(error, "rhubarbe-frisbee", USAGE))
        return error.exit_status
    return _run(settings, log, report.Events(1 if settings.given.has("json") else None))


def _run(settings: ClientSettings, log: report.LineReport, events: report.Events) -> int:
    teller = _Teller(events)
    try:
        if settings.given.has("Q"):
            text, is_ours = describe(settings)
            sys.stdout.write(f"{sanitise(text)}\n")
            return 0 if is_ours else FrisbeeError.exit_status
        _receive(settings, log, teller)
    except (FrisbeeError, DiskError, NdzError, OSError) as error:
        text, status = _failure(error)
        for line in teller.failed(text, status):
            log.line(line)
        return status
    return 0
