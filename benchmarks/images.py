"""Images of a realistic disk, side by side with what others make of it, in both directions.

Builds a 2 GiB ext4 with a part of /usr on it, in a directory in memory (or where --directory
says). All contenders take turns in one run, some rounds; medians are printed: wall clock, CPU, peak
memory and size of the image. Those that are not installed are left out, and named; other programs
with the same options take part by --original.
"""

import argparse
import contextlib
import os
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass, field
from pathlib import Path

import elsewhere

MIB = 1 << 20
PROGRAM = (
    f"{sys.executable} -c 'import sys; from rhubarbe.imaging.{{}} import main; sys.exit(main())'"
)
ZIP, UNZIP = PROGRAM.format("imagezip"), PROGRAM.format("imageunzip")
SAMPLE_PIECES, PIECE = 24, 2 * MIB


@dataclass(frozen=True)
class Contender:
    """A program to measure, by its shell commands in both directions."""

    name: str
    needs: tuple[str, ...]
    pack: str
    unpack: str


CONTENDERS = [
    Contender("rhubarbe, default", (), f"{ZIP} {{disk}} {{image}}", f"{UNZIP} {{image}} {{out}}"),
    *[
        Contender(f"rhubarbe -z {n}", (), f"{ZIP} -z{n} {{disk}} {{image}}",
                  f"{UNZIP} {{image}} {{out}}")
        for n in (1, 3, 4)
    ],
    Contender(
        "partclone | zstd -1 -T0", ("partclone.ext4", "zstd"),
        "partclone.ext4 -q -L {log} -c -s {disk} -o - | zstd -q -f -1 -T0 -o {image}",
        "zstd -q -d -c {image} | partclone.ext4 -q -L {log} -r -s - -C -O {out}",
    ),
    Contender(
        "partclone | pigz -1", ("partclone.ext4", "pigz"),
        "partclone.ext4 -q -L {log} -c -s {disk} -o - | pigz -1 > {image}",
        "pigz -d -c {image} | partclone.ext4 -q -L {log} -r -s - -C -O {out}",
    ),
    Contender(
        "qemu-img convert -c", ("qemu-img",),
        "qemu-img convert -c -O qcow2 -f raw {disk} {image}",
        "qemu-img convert -O raw -f qcow2 {image} {out}",
    ),
    Contender(
        "dd | gzip -1", ("gzip",),
        "dd if={disk} bs=1M status=none | gzip -1 > {image}",
        "gzip -d -c {image} | dd of={out} bs=1M status=none",
    ),
]  # fmt: skip


@dataclass(frozen=True)
class Run:
    """What one run took: seconds of wall clock and CPU, peak memory."""

    wall: float
    cpu: float
    memory_mib: float


def measure(command: str) -> Run:
    """Run a shell pipeline, and sync what it wrote."""
    started = time.monotonic()
    child = subprocess.Popen(
        ["bash", "-o", "pipefail", "-c", command],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    assert child.stderr
    complaints = child.stderr.read()
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    os.sync()
    if child.returncode:
        sys.exit(f"{command}: {complaints.decode()}")
    wall = time.monotonic() - started
    return Run(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def make_disk(directory: Path, size_mib: int, fill_mib: int) -> tuple[Path, int]:
    """Make the disk, and return it with the number of bytes in use on it."""
    tree, left = directory / "tree", fill_mib * MIB
    for path in sorted(Path("/usr").rglob("*")):
        if not path.is_file() or path.is_symlink() or left <= 0:
            continue
        place = tree / path.relative_to("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, place)
        left -= path.stat().st_size
    disk = directory / "disk.img"
    with disk.open("wb") as file:
        file.truncate(size_mib * MIB)
    mke2fs = shutil.which("mke2fs", path=os.environ["PATH"] + ":/usr/sbin:/sbin")
    subprocess.run([mke2fs, "-q", "-F", "-t", "ext4", "-d", tree, disk], check=True)
    shutil.rmtree(tree)
    return disk, disk.stat().st_blocks * 512


@dataclass
class Figures:
    """Of one contender, each round's: both directions, and the size of the image in bytes."""

    packed: list[Run] = field(default_factory=list)
    unpacked: list[Run] = field(default_factory=list)
    size: int = 0


def take_turn(contender: Contender, disk: Path, directory: Path, figures: Figures) -> None:
    """Have a contender make an image, and a disk of it."""
    with tempfile.TemporaryDirectory(dir=directory) as name:
        places = {each: Path(name) / each for each in ("image", "out", "log")}
        figures.packed.append(measure(contender.pack.format(disk=disk, **places)))
        figures.size = places["image"].stat().st_size
        with places["out"].open("wb") as file:
            file.truncate(disk.stat().st_size)
        figures.unpacked.append(measure(contender.unpack.format(disk=disk, **places)))


def compare(
    contenders: list[Contender], disk: Path, directory: Path, rounds: int
) -> dict[str, Figures]:
    """Have all of them do it some times, in turns."""
    figures = {each.name: Figures() for each in contenders}
    for number in range(rounds):
        for each in contenders[:: (-1) ** number]:
            take_turn(each, disk, directory, figures[each.name])
    return figures


def median(runs: list[Run]) -> Run:
    """Return the median of each figure."""
    return Run(*(statistics.median(each) for each in zip(*map(astuple, runs), strict=True)))


def print_table(figures: dict[str, Figures], used: int) -> tuple[float, float]:
    """Print the medians, two lines each; return the MB/s of the first, in both directions."""
    speeds = []
    for name, each in figures.items():
        for way, runs in (("pack", each.packed), ("unpack", each.unpacked)):
            run = median(runs)
            speeds.append(used / run.wall / 1e6)
            print(
                f"{name:<24} {way:<7} {run.wall:6.2f} s {run.cpu:6.2f} s CPU "
                f"{run.memory_mib:6.0f} MiB {speeds[-1]:7.0f} MB/s  "
                f"{each.size / MIB:7.1f} MiB image"
            )
    return speeds[0], speeds[1]


def programs_in(directory: Path) -> list[Contender]:
    """Return what the imagezip and imageunzip in a directory do: as they are, and by level 1."""
    zips, unzips = (shlex.quote(str(directory / name)) for name in ("imagezip", "imageunzip"))
    return [
        Contender(f"{directory.name}{level}", (), f"{zips}{level} {{disk}} {{image}}",
                  f"{unzips} {{image}} {{out}}")
        for level in ("", " -z1")
    ]  # fmt: skip


def cpu_model() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.split(":")[1].strip() for line in lines if "model name" in line), "unknown")


def deflated_by_zlib(disk: Path) -> tuple[float, int]:
    """Return how zlib's level 4, the original's, takes what is on the disk: (MB/s, bytes).

    The speed is that of one core, on a part of it; the bytes are all of it in chunks.
    """
    with disk.open("rb") as file:
        pieces, at = [], 0
        with contextlib.suppress(OSError):  # ENXIO: no data after this
            while True:
                at = os.lseek(file.fileno(), at, os.SEEK_DATA)
                pieces.append(at)
                at += PIECE

        def deflate(at: int) -> int:
            end = os.lseek(file.fileno(), at, os.SEEK_HOLE)
            return len(zlib.compress(os.pread(file.fileno(), min(PIECE, end - at), at), 4))

        some = pieces[:: max(len(pieces) // SAMPLE_PIECES, 1)]
        started = time.process_time()
        for at in some:
            deflate(at)
        speed = len(some) * PIECE / (time.process_time() - started) / 1e6
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            return speed, sum(pool.map(deflate, pieces)) * MIB // (MIB - 4096)


def print_ratios(speeds: tuple[float, float], factor: float) -> None:
    """Print ours beside the original, whose figures are of another machine, both ways."""
    print("our default against the original, whose figures are from another run, and")
    print(f"those figures times {factor:.2f}, for one core here is so much of one there:")
    for verb, speed, figures in zip(
        ("imagezip", "imageunzip"), speeds, (elsewhere.ZIP, elsewhere.UNZIP), strict=True
    ):
        for name, figure in figures.items():
            print(
                f"  {verb} {speed / figure:5.1f} and {speed / figure / factor:5.1f} times"
                f" the {name} ({figure} MB/s)"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--directory", default="/dev/shm", help="where disk and images are made")
    parser.add_argument("--size", type=int, default=2048, help="of the disk, in MiB")
    parser.add_argument("--fill", type=int, default=1300, help="content, in MiB")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="", help="contenders whose name has this in it")
    parser.add_argument(
        "--original", action="append", type=Path, default=[], metavar="DIRECTORY",
        help="with another imagezip and imageunzip",
    )  # fmt: skip
    arguments = parser.parse_args()
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    with tempfile.TemporaryDirectory(dir=arguments.directory) as name:
        directory = Path(name)
        disk, used = make_disk(directory, arguments.size, arguments.fill)
        print(f"{os.cpu_count()} cores; {cpu_model()}")
        print(f"{used / MIB:.0f} MiB in use of {arguments.size}, medians of {arguments.rounds}")
        others = [each for place in arguments.original for each in programs_in(place)]
        taking = []
        for contender in [*CONTENDERS, *others]:
            if missing := [need for need in contender.needs if not shutil.which(need)]:
                print(f"{contender.name}: {', '.join(missing)} not installed")
            elif arguments.only in contender.name:
                taking.append(contender)
        if not taking:
            parser.error(f"--only {arguments.only}: no contender that is installed has this in it")
        ours = print_table(compare(taking, disk, directory, arguments.rounds), used)
        speed, size = deflated_by_zlib(disk)
    print(f"zlib, level 4: {speed:.0f} MB/s a core, and {size / MIB:.1f} MiB as an image")
    if not others and taking[0] is CONTENDERS[0]:
        print_ratios(ours, 1 / elsewhere.here(speed))


if __name__ == "__main__":
    main()
