"""Images of a realistic disk, side by side with what others make of it, in both directions.

Builds a 2 GiB ext4 with a part of /usr on it, in a directory in memory (or where --directory
says), and prints wall clock, CPU, peak memory and size of each program. Those that are not
installed are left out, and named.
"""

import argparse
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

MIB = 1 << 20
PROGRAM = (
    f"{sys.executable} -c 'import sys; from rhubarbe.imaging.{{}} import main; sys.exit(main())'"
)
ZIP, UNZIP = PROGRAM.format("imagezip"), PROGRAM.format("imageunzip")
# MB/s of allocated data, on another machine, where one core deflates by zlib's level 4 at 84 MB/s.
ORIGINAL_ZIP = {"original, level 4": 84, "original, level 1": 124}
ORIGINAL_UNZIP = {"original": 282, "original, at best": 345}
ITS_MACHINE_DEFLATES = 84
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


def contend(
    contender: Contender, disk: Path, directory: Path, used: int, repeats: int
) -> tuple[float, float]:
    places = {
        "disk": disk, "image": directory / "image", "out": directory / "out",
        "log": directory / "log",
    }  # fmt: skip
    best = []
    for template in (contender.pack, contender.unpack):
        runs = []
        for _ in range(repeats):
            if template is contender.unpack:
                places["out"].unlink(missing_ok=True)
                with places["out"].open("wb") as file:
                    file.truncate(disk.stat().st_size)
            runs.append(measure(template.format(**places)))
        best.append(min(runs, key=lambda run: run.wall))
    size = places["image"].stat().st_size
    for way, run in zip(("pack", "unpack"), best, strict=True):
        print(
            f"{contender.name:<24} {way:<7} {run.wall:6.2f} s {run.cpu:6.2f} s CPU "
            f"{run.memory_mib:6.0f} MiB {used / run.wall / 1e6:7.0f} MB/s  "
            f"{size / MIB:7.1f} MiB image",
            flush=True,
        )
    return used / best[0].wall / 1e6, used / best[1].wall / 1e6


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
        ("imagezip", "imageunzip"), speeds, (ORIGINAL_ZIP, ORIGINAL_UNZIP), strict=True
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
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", default="", help="contenders whose name has this in it")
    arguments = parser.parse_args()
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    with tempfile.TemporaryDirectory(dir=arguments.directory) as name:
        directory = Path(name)
        disk, used = make_disk(directory, arguments.size, arguments.fill)
        print(f"{os.cpu_count()} cores; {cpu_model()}")
        print(f"{used / MIB:.0f} MiB in use of {arguments.size}, best of {arguments.repeats}")
        ours = None
        for contender in CONTENDERS:
            if missing := [need for need in contender.needs if not shutil.which(need)]:
                print(f"{contender.name}: {', '.join(missing)} not installed")
            elif arguments.only in contender.name:
                speeds = contend(contender, disk, directory, used, arguments.repeats)
                ours = ours or speeds
        speed, size = deflated_by_zlib(disk)
    print(f"zlib, level 4: {speed:.0f} MB/s a core, and {size / MIB:.1f} MiB as an image")
    if ours:
        print_ratios(ours, speed / ITS_MACHINE_DEFLATES)


if __name__ == "__main__":
    main()
