"""Kinds of what is in a partition: made by the system's tools, and told of by them.

`make` fills a device, `tell` asks the tools about a device that may only be read, and returns what
they said, by tool. It must be the same for the source and for what was restored; that the source
is sound is asserted when it is made.
"""

import hashlib
import os
import random
import re
import shutil
from dataclasses import dataclass

from proving.lives import mirrored
from proving.places import MIB, ask, mounted, run

SECRET = "secret"
HALF = MIB // 2


def _noise(count, seed):
    return random.Random(seed).randbytes(count)


def _write_files(root, seed=1):
    """Write files of many sizes, in folders, and delete a third of them."""
    chance = random.Random(seed)
    for number in range(45):
        folder = root / f"d{number % 4}"
        folder.mkdir(exist_ok=True)
        text = b"%d %d\n" % (seed, number) * chance.randrange(1, 3000)
        (folder / f"f{number}").write_bytes(_noise(chance.randrange(1, 90000), number) + text)
    os.sync()
    for path in sorted(root.glob("d*/f*"))[::3]:
        path.unlink()


def _list_files(root):
    """Return a line for each file: its name, and a digest of what it holds."""
    files = sorted(path for path in root.rglob("*") if path.is_file())
    assert files, f"no files in {root}"
    lines = (
        f"{path.relative_to(root)} {hashlib.blake2b(path.read_bytes()).hexdigest()[:24]}"
        for path in files
    )
    return "\n".join(lines)


def _digest(device):
    return ask(device, "sha256sum", device)


@dataclass(frozen=True)
class Kind:
    """One kind; `mib` is the size of its partition, `types` that for an MBR and for a GPT."""

    mib: int
    types: tuple[str, str] = ("83", "L")
    needs: tuple[str, ...] = ()

    def make(self, device, directory):
        raise NotImplementedError

    def tell(self, device, directory):
        raise NotImplementedError


class Raw(Kind):
    """What nobody understands: noise, and zeroes that count."""

    def make(self, device, directory):
        del directory
        with open(device, "r+b") as file:  # noqa: PTH123
            size = file.seek(0, 2)
            for at in range(0, size - HALF + 1, 2 * MIB):
                file.seek(at)
                file.write(_noise(HALF, at))
            file.seek(size - 512)
            file.write(b"the end".ljust(512))

    def tell(self, device, directory):
        del directory
        return {"sha256sum": _digest(device)}


class Mountable(Kind):
    """A filesystem that can be mounted here."""

    format = ()
    check = ()
    mount = ("mount",)
    drop = r"$^"

    def make(self, device, directory):
        run(*self.format, device)
        with mounted(device, directory / "point", command=self.mount, options="rw") as point:
            _write_files(point)
        if self.mount[0] == "mount":  # what is left to do at the next mount, done
            with mounted(device, directory / "point", command=self.mount, options="rw"):
                pass

    def tell(self, device, directory):
        said = {self.check[0]: ask(device, *self.check, device, drop=self.drop)}
        with mounted(device, directory / "point", command=self.mount) as point:
            return said | {"files": _list_files(point)} | self.tell_mounted(device, point)

    def tell_mounted(self, device, point):
        del device, point
        return {}


class Ext4(Mountable):
    format = ("mke2fs", "-q", "-F", "-t", "ext4", "-L", "root")
    check = ("e2fsck", "-fn")
    drop = r"^e2fsck "


class Ext4Files(Ext4):
    """The same without root, who alone may mount."""

    def make(self, device, directory, *size):
        folder = directory / "files"
        folder.mkdir()
        _write_files(folder)
        run(*self.format, "-d", folder, device, *size)

    def tell(self, device, directory):
        out = directory / "dumped"
        out.mkdir()
        run("debugfs", "-R", f"rdump / {out}", device)
        said = _list_files(out)
        shutil.rmtree(out)
        return {"e2fsck": ask(device, *self.check, device, drop=self.drop), "files": said}


class Mirror(Ext4Files):
    """A member of a mirror of md, with its superblock at the end, which is to stay."""

    def make(self, device, directory):
        with open(device, "rb") as file:  # noqa: PTH123
            size = file.seek(0, 2)
        super().make(device, directory, f"{size // 1024 - 64}k")
        mirrored(device)


class Xfs(Mountable):
    format = ("mkfs.xfs", "-qfK")
    check = ("xfs_repair", "-n")
    drop = r" - agno = "


class Btrfs(Mountable):
    format = ("mkfs.btrfs", "-qfK", "-d", "dup", "-m", "dup")
    check = ("btrfs", "check", "--readonly", "--check-data-csum")
    drop = r"^\[|^cache and super|^Opening"

    def tell(self, device, directory):
        supers = ("btrfs", "inspect-internal", "dump-super", "-fa", device)
        return super().tell(device, directory) | {"dump-super": ask(device, *supers)}

    def tell_mounted(self, device, point):
        scrub = ask(device, "btrfs", "scrub", "start", "-Br", point, among=range(256))
        kept = [line for line in scrub.splitlines() if re.search("(?i)error", line)]
        return {"scrub": "\n".join(kept), "stats": ask(device, "btrfs", "device", "stats", point)}


class Ntfs(Mountable):
    format = ("mkfs.ntfs", "-qFf", "-L", "windows")
    check = ("ntfsfix", "-n")
    mount = ("ntfs-3g",)


class Fat32(Kind):
    def make(self, device, directory):
        run("mkfs.vfat", "-F", 32, "-n", "EFI", device)
        folder = directory / "files"
        folder.mkdir()
        _write_files(folder)
        run("mcopy", "-s", "-i", device, *sorted(folder.iterdir()), "::/")
        run("mdeltree", "-i", device, "::/d2")

    def tell(self, device, directory):
        out = directory / "copied"
        out.mkdir()
        run("mcopy", "-sn", "-i", device, "::/*", out)
        said = _list_files(out)
        shutil.rmtree(out)
        return {"fsck.vfat": ask(device, "fsck.vfat", "-n", device), "files": said}


class F2fs(Kind):
    def make(self, device, directory):
        run("mkfs.f2fs", "-qf", "-t0", "-l", "phone", device)
        folder = directory / "files"
        folder.mkdir()
        for number in range(12):
            (folder / f"f{number}").write_bytes(_noise(40000 + 7777 * number, number))
        run("sload.f2fs", "-f", folder, device)

    def tell(self, device, directory):
        said = ask(
            device, "fsck.f2fs", "--dry-run", device, drop=r"^Info: .*(kernel|FSCK|time)|^Done"
        )
        for inode in range(4, 16):  # the root's is 3
            run("dump.f2fs", "-i", f"{inode:#x}", device, cwd=directory, input="y\n")
        files = _list_files(directory / "lost_found")
        shutil.rmtree(directory / "lost_found")
        return {"fsck.f2fs": said, "files": files}


class Ufs(Kind):
    """Made by NetBSD's makefs, read by GRUB, which takes any file or device."""

    version = 1

    def make(self, device, directory):
        folder, made = directory / "files", directory / "made.img"
        folder.mkdir()
        _write_files(folder)
        sizes = f"version={self.version},bsize=32768,fsize=4096"
        run("makefs", "-t", "ffs", "-o", sizes, "-s", f"{self.mib}m", made, folder)
        run("dd", f"if={made}", f"of={device}", "bs=1M", "conv=notrunc,fsync")
        made.unlink()

    def tell(self, device, directory):
        del directory
        found = []
        for folder in run("grub-fstest", device, "ls", "/").split():
            for name in run("grub-fstest", device, "ls", f"/{folder}").split():
                path = f"/{folder}{name}"
                found.append(f"{path} {run('grub-fstest', device, 'crc', path).strip()}")
        assert len(found) == 30, found
        return {"blkid": ask(device, "blkid", "-p", device), "files": "\n".join(sorted(found))}


class Ufs2(Ufs):
    version = 2


class Swap(Kind):
    def make(self, device, directory):
        del directory
        run("mkswap", "-q", "-L", "swap", device)

    def tell(self, device, directory):
        del directory
        return {"swaplabel": ask(device, "swaplabel", device)}


class Lvm(Raw):
    """A physical volume with a logical one; this kernel may know no device mapper."""

    def _lvm(self, device, directory):
        own = f'global/locking_dir="{directory}" backup/backup=0 backup/archive=0'
        scope = f'devices/filter=["a|^{device}$|","r|.*|"] devices/use_devicesfile=0'
        return ("--driverloaded", "n", "--config", f"{own} {scope}")

    def make(self, device, directory):
        super().make(device, directory)
        options, group = self._lvm(device, directory), f"vg{os.getpid()}"
        run("pvcreate", *options, "-y", "-ff", device)
        run("vgcreate", *options, group, device)
        run("lvcreate", *options, "-an", "-Zn", "-Wn", "-L", "4M", "-n", "root", group)

    def tell(self, device, directory):
        options = self._lvm(device, directory)
        dump = ("pvck", *options, "--dump", "metadata", device)
        return super().tell(device, directory) | {
            "pvck": ask(device, "pvck", *options, device),
            "headers": ask(device, "pvck", *options, "--dump", "headers", device),
            "metadata": ask(device, *dump, drop=r"^(device|description) = "),
            "lvs": ask(device, "lvs", *options, "--noheadings", "-o", "vg_name,lv_name,lv_size"),
        }


class Luks(Raw):
    version = "luks1"

    def make(self, device, directory):
        super().make(device, directory)
        fast = ("--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000")
        run(
            "cryptsetup",
            "luksFormat",
            "-q",
            "--type",
            self.version,
            *fast,
            device,
            "-",
            input=SECRET,
        )

    def tell(self, device, directory):
        opened = ask(
            device, "cryptsetup", "open", "--test-passphrase", "-d", _key(directory), device
        )
        dump = ask(device, "cryptsetup", "luksDump", device)
        return super().tell(device, directory) | {"luksDump": dump, "passphrase": opened}


class Luks2(Luks):
    """With its second header, which must do when the first one is lost."""

    version = "luks2"

    def tell(self, device, directory):
        copy = directory / "second.img"
        run("cp", "--sparse=always", device, copy)
        with copy.open("r+b") as file:
            file.write(bytes(4096))
        dump = ask(copy, "cryptsetup", "luksDump", copy)
        copy.unlink()
        return super().tell(device, directory) | {"second header": dump}


def _key(directory):
    key = directory / "key"
    key.write_text(SECRET)
    return key


KINDS = {
    "ext4": Ext4(48, needs=("mke2fs", "e2fsck")),
    "xfs": Xfs(300, needs=("mkfs.xfs", "xfs_repair", "partclone.xfs")),
    "btrfs": Btrfs(240, needs=("mkfs.btrfs", "partclone.btrfs")),
    "ntfs": Ntfs(40, ("7", "EBD0A0A2-B9E5-4433-87C0-68B6B72699C7"), ("ntfs-3g", "partclone.ntfs")),
    "fat32": Fat32(264, ("c", "U"), ("mkfs.vfat", "mcopy", "fsck.vfat")),
    "f2fs": F2fs(80, needs=("mkfs.f2fs", "sload.f2fs", "partclone.f2fs")),
    "ufs1": Ufs(40, ("a5", "516E7CB6-6ECF-11D6-8FF8-00022D09712B"), ("makefs", "grub-fstest")),
    "ufs2": Ufs2(40, ("a5", "516E7CB6-6ECF-11D6-8FF8-00022D09712B"), ("makefs", "grub-fstest")),
    "swap": Swap(24, ("82", "S"), ("mkswap", "swaplabel")),
    "lvm": Lvm(24, ("8e", "E6D6D379-F507-44C2-A23C-238F2A3DF928"), ("pvcreate", "pvck")),
    "luks1": Luks(24, needs=("cryptsetup",)),
    "luks2": Luks2(24, needs=("cryptsetup",)),
    "md": Mirror(32, ("fd", "R"), ("mke2fs", "e2fsck", "debugfs", "mdadm")),
    "raw": Raw(16, ("da", "8DA63339-0007-60C0-C436-083AC8230908")),
}

SMALL = {
    "ext4": Ext4Files(8, needs=("mke2fs", "e2fsck", "debugfs")),
    "swap": Swap(5, ("82", "S"), ("mkswap", "swaplabel")),
    "raw": Raw(5, ("da", "8DA63339-0007-60C0-C436-083AC8230908")),
}
"""Those that take no root, no loop devices, and little time."""
