"""A bootable disk as a sparse file, made without root: boot record, GRUB, one ext4 partition.

Source of the layout: the MBR of IBM PCs, and GRUB's manual, "BIOS installation": the first sector
loads what lies right behind it, before the first partition.
"""

import stat
import struct
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rhubarbe.annexe.errors import Misused, ProgramFailed
from rhubarbe.ramdisk_builder import output, programs
from rhubarbe.ramdisk_builder.errors import FormatError
from rhubarbe.ramdisk_builder.libraries import Sysroot
from rhubarbe.ramdisk_builder.tree import FileEntry, Tree

PACKAGES = ("e2fsprogs", "grub-common", "grub-pc-bin")
SECTOR = 512
MIB = 1 << 20
PARTITION_SECTOR = 2048
BOOT_CODE_SIZE = 440
LINUX = 0x83
CHS_UNUSED = b"\xfe\xff\xff"
GRUB_MODULES = ("biosdisk", "part_msdos", "ext2", "linux16", "boot")
GRUB_FILES = "usr/lib/grub/i386-pc"
# What GRUB of Debian 12 can read, whatever mke2fs makes by default.
FEATURES = (
    "none,has_journal,ext_attr,resize_inode,dir_index,filetype,extent,64bit,flex_bg,sparse_super,"
    "large_file,huge_file,dir_nlink,extra_isize,metadata_csum"
)
# The 16-bit way into the kernel takes half the time of the 32-bit one where the processor is
# emulated.
GRUB_CONFIGURATION = """\
set root=(hd0,msdos1)
linux16 /boot/vmlinuz root=UUID={} console=tty0 console=ttyS0,115200 quiet mitigations=off
initrd16 /boot/initrd
boot
"""


@dataclass(frozen=True, slots=True)
class DiskSpec:
    """What a disk is called, and how large it is in bytes."""

    name: str
    size: int

    @property
    def identity(self) -> uuid.UUID:
        """The UUID of its file system: the same for each build of the same name."""
        return uuid.uuid5(uuid.NAMESPACE_URL, f"rhubarbe-ramdisk:{self.name}")

    @property
    def partition(self) -> int:
        """The size of its partition, in bytes."""
        return self.size - PARTITION_SECTOR * SECTOR


def write(path: Path, layout: DiskSpec, tree: Tree, root: Sysroot) -> None:
    """Write a disk with the files of a tree; `root` has the PACKAGES.

    Raises PackageError, ProgramFailed, FormatError, OSError, and Misused when it is too small.
    """
    with output.unfinished(path) as unfinished, tempfile.TemporaryDirectory() as workroom:
        with unfinished.open("wb") as file:
            file.truncate(layout.size)
            file.write(boot_record(layout, root) + loader(layout, root, Path(workroom)))
        _make_filesystem(unfinished, layout, root)
        _fill(unfinished, tree, root, Path(workroom))


def boot_record(layout: DiskSpec, root: Sysroot) -> bytes:
    """Return the first sector: GRUB's code, a signature of the disk, and the partition table."""
    code = root.get(f"{GRUB_FILES}/boot.img").read_bytes()[:BOOT_CODE_SIZE]
    count = layout.partition // SECTOR
    entry = struct.pack("<B3sB3sII", 0x80, CHS_UNUSED, LINUX, CHS_UNUSED, PARTITION_SECTOR, count)
    signature = layout.identity.bytes[:4] + b"\0\0"
    return code + signature + entry.ljust(64, b"\0") + b"\x55\xaa"


def loader(layout: DiskSpec, root: Sysroot, workroom: Path) -> bytes:
    """Return what lies behind the first sector: GRUB with its configuration in it."""
    configuration, core = workroom / "grub.cfg", workroom / "core.img"
    configuration.write_text(GRUB_CONFIGURATION.format(layout.identity))
    words = ["--format", "i386-pc", "--directory", str(root.get(f"{GRUB_FILES}/moddep.lst").parent)]
    words += ["--prefix", "/boot", "--config", str(configuration), "--output", str(core)]
    programs.run(root.command("usr/bin/grub-mkimage", *words, *GRUB_MODULES))
    content = core.read_bytes()
    if len(content) > (PARTITION_SECTOR - 1) * SECTOR:
        raise FormatError("GRUB does not fit before the first partition")
    return content


def _make_filesystem(disk: Path, layout: DiskSpec, root: Sysroot) -> None:
    """Make an empty ext4, the same each time."""
    extended = (
        f"offset={PARTITION_SECTOR * SECTOR},root_owner=0:0,hash_seed={layout.identity},"
        "lazy_itable_init=1,nodiscard"
    )
    words = ["-q", "-F", "-t", "ext4", "-O", FEATURES, "-b", "4096", "-I", "256", "-m", "0"]
    words += ["-U", str(layout.identity), "-L", layout.name, "-E", extended]
    command = root.command("usr/sbin/mke2fs", *words, str(disk), f"{layout.partition >> 10}k")
    programs.run(command, environment=_settled(root))


def _settled(root: Sysroot) -> dict[str, str]:
    """Return the environment in which e2fsprogs tell the same time each time."""
    return {"E2FSPROGS_FAKE_TIME": "1", "MKE2FS_CONFIG": str(root.get("etc/mke2fs.conf"))}


def _fill(disk: Path, tree: Tree, root: Sysroot, workroom: Path) -> None:
    """Write the files of a tree; they have the owners that it says, whoever runs this."""
    script: list[str] = []
    for number, (path, entry) in enumerate(tree):
        source = workroom / str(number)
        if stat.S_ISREG(entry.mode):
            source.write_bytes(entry.read())
        script += _requests(path, entry, source.name)
    target = f"{disk}?offset={PARTITION_SECTOR * SECTOR}"
    command = root.command("usr/sbin/debugfs", "-w", "-f", "-", target)
    lines = "".join(f"{line}\n" for line in script)
    for said in programs.complaints(command, lines, _settled(root), workroom):
        if "Could not allocate" in said:
            raise Misused("the system does not fit on a disk of that --size")
        if not said.startswith("debugfs 1."):  # which is how it introduces itself
            raise ProgramFailed(f"debugfs: {said}")


def _requests(path: str, entry: FileEntry, source: str) -> Iterator[str]:
    """Yield what debugfs is asked, to make one file in the directory that it is told to go to."""
    parent, _, name = (f'"{part}"' for part in f"/{path}".rpartition("/"))
    yield f"cd {parent}" if parent != '""' else "cd /"
    if stat.S_ISDIR(entry.mode):
        yield f"mkdir {name}"
    elif stat.S_ISLNK(entry.mode):
        yield f'symlink {name} "{entry.read().decode()}"'
    elif stat.S_ISCHR(entry.mode):
        yield f"mknod {name} c {entry.device[0]} {entry.device[1]}"
    else:
        yield f"write {source} {name}"
    yield f"set_inode_field {name} mode 0{entry.mode:o}"
    for field, value in zip(("uid", "gid"), entry.owner, strict=True):
        yield f"set_inode_field {name} {field} {value}"
    for field in ("atime", "ctime", "mtime", "crtime"):
        yield f"set_inode_field {name} {field} @1"
