"""What is built boots: the ramdisk answers what rhubarbe types, the system lets its owner in."""

import asyncio
import contextlib
import fcntl
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from virtual import GATEWAY, machine

from rhubarbe import dialogue
from rhubarbe.dialogue.session import require_ramdisk
from rhubarbe.testbed import bootserver
from rhubarbe.testbed.built import root_offset
from rhubarbe.testbed.drives import KINDS, Drive
from rhubarbe.transports import ssh, telnet

pytestmark = [pytest.mark.full, pytest.mark.alone, pytest.mark.timeout(300)]
BIN = Path(sys.executable).parent
MIB = 1 << 20
SYSTEM_SIZE = 96 * MIB
PROGRAMS = (
    "strace partclone.ext4 partclone.xfs partclone.btrfs partclone.ntfs partclone.exfat"
    " partclone.f2fs e2fsck mkfs.ext4 fsck.ext4 resize2fs tune2fs debugfs dropbear dropbearkey"
)
SPEAKS_WITHIN = 120  # seconds, on two cores that others use too
OWNER = f"by it's \\owner {'x' * 600} {chr(39) * 300}"  # longer than a shell's line
WHEN_THERE = """\
for try in $(seq 30); do [ $(ls -d /sys/block/*/device | wc -l) -ge {} ] && break; sleep 1; done;\
 ls -1d /sys/block/*/device"""
STAMP = "on no node - image sample - by rhubarbe-ramdisk"


@pytest.fixture(scope="session")
def built(tmp_path_factory, worker_id):
    """A directory with a ramdisk, a system and a key, made once for all processes of this run."""
    if missing := [name for name in ("qemu-system-x86_64", "apt-get") if not shutil.which(name)]:
        pytest.skip(f"needs {' and '.join(missing)}")
    base = tmp_path_factory.getbasetemp()
    directory = (base if worker_id == "master" else base.parent) / "built-from-packages"
    directory.mkdir(exist_ok=True)
    with (directory / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (directory / "done").exists():
            _build(directory)
            (directory / "done").touch()
    return directory


def _build(directory):
    key = directory / "key"
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key)
    options = ["--ssh-key", directory / "key.pub"]
    build(*options, "--output", directory, "--with", "/usr/bin/strace", "--with", "partclone.ext4")
    made = [BIN / "rhubarbe-ramdisk", "system", *options, "--output", directory / "system.img"]
    run(*made)


def build(*options):
    done = subprocess.run(
        [BIN / "rhubarbe-ramdisk", "build", *options], capture_output=True, text=True, timeout=280
    )
    if "Debian packages cannot be had" in done.stderr:
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stderr


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


async def typed(machine, command, key=None):
    """Type a command as rhubarbe does, over telnet or ssh; return its lines and exit status."""
    transcript = dialogue.Transcript()
    lines, status = [], None
    if key:
        door = ssh.open_shell("127.0.0.1", machine.ssh, str(key), 30)
    else:
        door = telnet.open_session("127.0.0.1", machine.telnet, 5)
    async with asyncio.timeout(90), door as session:
        await session.send(dialogue.script(command))
        async for piece in session.pieces():
            for each in transcript.feed(piece):
                if isinstance(each, dialogue.Line):
                    lines.append(each.text)
                elif isinstance(each, dialogue.Ended):
                    status = each.status
    return lines, status


SECRET = "0123456789abcdeffedcba9876543210"


@contextlib.asynccontextmanager
async def receiving(path):
    """Write what comes to a port of ours into a file, as rhubarbe-save does; yields the port."""
    done = asyncio.Event()

    async def receive(reader, writer):
        with path.open("wb") as file:
            assert await reader.readexactly(len(SECRET)) == SECRET.encode()
            while piece := await reader.read(1 << 16):
                file.write(piece)
        writer.close()
        done.set()

    async with await asyncio.start_server(receive, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]
        async with asyncio.timeout(20):
            await done.wait()


def test_two_builds_are_equal(built, tmp_path):
    options = ["--ssh-key", built / "key.pub", "--with", "/usr/bin/strace"]
    build(*options, "--with", "partclone.ext4", "--output", tmp_path)
    served = (*bootserver.KERNEL, *bootserver.LOADERS, *bootserver.GRUB_FILES)
    for name in (*served, bootserver.PXELINUX_ENTRY):
        assert (tmp_path / name).read_bytes() == (built / name).read_bytes()
    system = [BIN / "rhubarbe-ramdisk", "system", "--ssh-key", built / "key.pub"]
    run(*system, "--output", tmp_path / "system.img")
    assert (tmp_path / "system.img").read_bytes() == (built / "system.img").read_bytes()


async def test_the_ramdisk_stamps_saves_and_runs_all_its_programs(built, tmp_path):
    disk = tmp_path / "disk.img"
    shutil.copyfile(built / "system.img", disk)
    with machine(tmp_path, disk=disk, kernel=built) as booted:
        assert await booted.first_line(booted.telnet, SPEAKS_WITHIN)
        await _programs_answer(booted)
        await _stamps(booted)
        await _saves(booted, tmp_path / "saved.ndz")
        question = require_ramdisk("/dev/vda")
        lines, status = await typed(booted, question, built / "key")
        assert status == 0, lines
    await _saved_system_boots(built, tmp_path)


async def test_the_card_holds_all_that_it_can_and_the_client_says_where_not(tmp_path):
    """By the word of ethtool, on a card whose ring is small at first."""
    if not shutil.which("qemu-system-x86_64"):
        pytest.skip("needs qemu-system-x86_64")
    build("--kernel", "full", "--output", tmp_path)
    with machine(tmp_path, kernel=tmp_path, card="e1000", memory=512) as booted:
        assert await booted.first_line(booted.telnet, 2 * SPEAKS_WITHIN)
        shown = "ethtool -g eth0; cat /proc/sys/net/core/rmem_max"
        lines, status = await typed(booted, shown)
        assert [line.split()[1] for line in lines if line.startswith("RX:")] == ["4096", "4096"]
        assert (lines[-1], status) == ("16777216", 0)
        session = "frisbee -i 10.0.2.15 -m 234.5.6.1 -p 10001 -T 1 - 2>&1"
        lines, status = await typed(booted, session)
        assert (_advice(lines), status) == ([], 110)
        # the card goes down and up for it, with the session that types this
        smaller = "ethtool -G eth0 rx 256; ethtool -K eth0 gro off; sleep 1"
        lines, status = await typed(booted, f"{smaller}; {session}")
        assert _advice(lines) == [
            "Blocks may get lost here: eth0 holds 256 packets, and could 4096, eth0 hands over each"
            " packet by itself; as root: ethtool -G eth0 rx 4096 && ethtool -K eth0 gro on"
        ]
        cure = _advice(lines)[0].partition("as root: ")[2]
        lines, status = await typed(booted, f"{cure}; {session}")
        assert (_advice(lines), status) == ([], 110)


def _advice(lines):
    return [line for line in lines if line.startswith("Blocks may get lost")]


PARTITIONED = {
    "xfs": (["mkfs.xfs", "-qf"], 320),
    "btrfs": (["mkfs.btrfs", "-qf"], 200),
    "ntfs": (["mkfs.ntfs", "-qFf"], 32),
    "f2fs": (["mkfs.f2fs", "-qf"], 128),
    "exfat": (["mkfs.exfat"], 32),
}


async def test_the_ramdisk_knows_what_is_in_use_on_partitions(tmp_path):
    """Of each kind that imagezip does not read by itself, and in the smallest ramdisk."""
    missing = [made[0] for made, _ in PARTITIONED.values() if not shutil.which(made[0])]
    if missing or not shutil.which("qemu-system-x86_64"):
        pytest.skip(f"needs qemu-system-x86_64 and {' '.join(missing)}")
    disk = _partitioned(tmp_path)
    build("--output", tmp_path)
    with machine(tmp_path, disk=disk, kernel=tmp_path) as booted:
        assert await booted.first_line(booted.telnet, SPEAKS_WITHIN)
        lines, status = await typed(booted, "imagezip -i /dev/vda 2>&1")
    assert status == 0, lines
    assert not [line for line in lines if "stored raw" in line]


def _partitioned(directory):
    """Make a disk with a partition of each kind."""
    disk, start = directory / "disk.img", 1
    script = "label: gpt\n" + "".join(f"size={mib}M\n" for _, mib in PARTITIONED.values())
    with disk.open("wb") as file:
        file.truncate(MIB * (sum(mib for _, mib in PARTITIONED.values()) + 2))
    subprocess.run(["sfdisk", "-q", disk], input=script.encode(), check=True)
    for command, mib in PARTITIONED.values():
        part = directory / "part.img"
        with part.open("wb") as file:
            file.truncate(mib * MIB)
        run(*command, part)
        run("dd", f"if={part}", f"of={disk}", "bs=1M", f"seek={start}", "conv=notrunc,sparse")
        part.unlink()
        start += mib
    return disk


async def _programs_answer(booted):
    lines, status = await typed(
        booted, "imagezip --version; frisbee --version; imageunzip --version"
    )
    assert status == 0
    assert [line.split()[0] for line in lines if line.startswith("rhubarbe-")] == [
        "rhubarbe-imagezip",
        "rhubarbe-frisbee",
        "rhubarbe-imageunzip",
    ]
    # a program that lacks a library ends as one that is not there at all
    tried = f"for each in {PROGRAMS}; do $each -V; [ $? -lt 126 ] || exit 9; done"
    said, status = await typed(booted, f"({tried}) </dev/null")
    assert status == 0, said
    faster = "import isal.isal_zlib, zlib_ng.zlib_ng, ctypes, json, mmap, hashlib"
    words = f'python3 -ISBc "import sys; sys.path.append(\\"/usr/lib/rhubarbe\\"); {faster}"'
    said, status = await typed(booted, words)
    assert status == 0, said


async def _stamps(booted):
    shown = "mount -o ro /dev/vda1 /mnt && cat /mnt/etc/rhubarbe-image; umount /mnt"
    lines, status = await typed(booted, shown)
    assert (lines[-1], status) == (STAMP, 0)
    _, status = await typed(booted, dialogue.stamp("/dev/vda1", "/mnt", OWNER))
    assert status == 0


async def _saves(booted, image):
    async with receiving(image) as port:
        command = dialogue.read_image("imagezip", "/dev/vda", "nc", GATEWAY, port, SECRET)
        lines, status = await typed(booted, command)
    assert status == 0, lines
    assert f"{dialogue.DISK_MARK}{SYSTEM_SIZE}" in lines


async def _saved_system_boots(built, tmp_path):
    """What was saved is restored to a larger disk, boots from it, and powers off."""
    disk = tmp_path / "larger.img"
    with disk.open("wb") as file:
        file.truncate(128 * MIB)
    run(BIN / "rhubarbe-imageunzip", tmp_path / "saved.ndz", disk)
    with disk.open("r+b") as file:
        file.truncate(128 * MIB)
    with machine(tmp_path, disk=disk, kind="ide", memory=128) as booted:
        assert (await booted.first_line(booted.ssh, SPEAKS_WITHIN)).startswith(b"SSH-2.0-")
        key = str(built / "key")
        told = await ssh.ask(
            "127.0.0.1", booted.ssh, "root", key, 30, "cat /etc/rhubarbe-image; hostname; mount"
        )
        assert told.splitlines()[:3] == [STAMP, OWNER, "sample"]
        assert re.search(r"^/dev/sda1 on / type ext4 \(rw", told, re.MULTILINE)
        lines, status = await typed(booted, require_ramdisk("/dev/sda"), key)
        assert (lines[-1], status) == ("/dev/sda1 is mounted: this is no ramdisk", 1)
        await ssh.ask("127.0.0.1", booted.ssh, "root", key, 30, "shutdown -h now")
        await booted.has_ended(60)
        assert booted.process.returncode == 0, booted.story("it did not power off")
    run("e2fsck", "-fn", f"{disk}?offset={root_offset(disk)}")


@pytest.mark.timeout(600)
async def test_all_kinds_of_disks_show_up_and_none_is_in_use(built, tmp_path):
    build("--kernel", "full", "--output", tmp_path)
    disks = []
    for kind in KINDS:
        shutil.copyfile(built / "system.img", tmp_path / kind)
        disks.append(Drive(tmp_path / kind, kind))
    with machine(tmp_path, disks=disks, kernel=tmp_path, memory=512) as booted:
        assert await booted.first_line(booted.telnet, 2 * SPEAKS_WITHIN)
        lines, status = await typed(booted, WHEN_THERE.format(len(disks)))
        assert status == 0
        found = sorted(line.split("/")[3] for line in lines if line.startswith("/sys/block/"))
        assert found == ["nvme0n1", "sda", "sdb", "sdc", "sdd", "vda"]
        # no driver that would assemble arrays or volumes of what it finds is there at all
        _, status = await typed(booted, "modprobe md-mod || modprobe dm-mod")
        assert status != 0
        for partition in ("nvme0n1p1", "sda1", "vda1"):
            command = f"mount -o ro /dev/{partition} /mnt && cat /mnt/etc/rhubarbe-image"
            lines, status = await typed(booted, f"{command}; umount /mnt")
            assert (lines[-1], status) == (STAMP, 0)
