"""A bootable disk as a sparse file, made without root: one ext4 partition, for BIOS and UEFI.

Source of the layout: the UEFI specification, and GRUB's manual, "BIOS installation": the first
sector loads what is in a partition of its own. Where Debian's cloud images have them, the
partitions that only firmware reads have the numbers 14 and 15, and the root is 1.
"""

import stat
import struct
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rhubarbe.annexe.errors import Misused, ProgramFailed
from rhubarbe.ramdisk_builder import esp, gpt, output, programs
from rhubarbe.ramdisk_builder.efi import LOADERS
from rhubarbe.ramdisk_builder.errors import FormatError
from rhubarbe.ramdisk_builder.gpt import SECTOR, Partition
from rhubarbe.ramdisk_builder.libraries import Sysroot
from rhubarbe.ramdisk_builder.tree import FileEntry, Tree

EFI = LOADERS["amd64"]
PACKAGES = ("e2fsprogs", "grub-common", "grub-pc-bin", *esp.PACKAGES, *EFI.packages)
MIB = 1 << 20
ROOT, BIOS_BOOT, EFI_SYSTEM = 1, 14, 15
LOADER_SECTOR, EFI_SECTOR = gpt.FIRST_USABLE, 2048
ROOT_SECTOR = EFI_SECTOR + esp.SECTORS
# Where GRUB's first sector, and the first of what that loads, say what comes after them.
NEXT_OF_BOOT, NEXT_OF_LOADER = 0x5C, 0x1F4
GRUB_MODULES = ("biosdisk", "part_gpt", "ext2", "linux16", "boot")
GRUB_FILES = "usr/lib/grub/i386-pc"
# What GRUB of Debian 12 can read, whatever mke2fs makes by default.
FEATURES = (
    "none,has_journal,ext_attr,resize_inode,dir_index,filetype,extent,64bit,flex_bg,sparse_super,"
    "large_file,huge_file,dir_nlink,extra_isize,metadata_csum"
)
KERNEL_WORDS = "root=UUID={} console=tty0 console=ttyS0,115200 quiet mitigations=off"
# The 16-bit way into the kernel takes half the time of the 32-bit one where the processor is
# emulated.
BIOS_CONFIGURATION = f"""\
set root=(hd0,gpt{ROOT})
linux16 /boot/vmlinuz {KERNEL_WORDS}
initrd16 /boot/initrd
boot
"""
EFI_CONFIGURATION = f"""\
search --no-floppy --fs-uuid --set=root {{0}}
linux /boot/vmlinuz {KERNEL_WORDS.format("{0}")}
initrd /boot/initrd
boot
"""


@dataclass(frozen=True, slots=True)
class DiskSpec:
    """What a disk is called, and how large it is in bytes."""

    name: str
    size: int

    @property
    def identity(self) -> uuid.UUID:
        """The UUID of its root file system: the same for each build of the same name."""
        return uuid.uuid5(uuid.NAMESPACE_URL, f"rhubarbe-ramdisk:{self.name}")

    @property
    def root_size(self) -> int:
        """The size of its root partition, in bytes: whole mebibytes but the last, of the table."""
        return (self.size // MIB - 1) * MIB - ROOT_SECTOR * SECTOR

    @property
    def table(self) -> gpt.Table:
        """Its partitions."""
        parts = {
            ROOT: Partition(gpt.LINUX, ROOT_SECTOR, self.root_size // SECTOR, "root"),
            BIOS_BOOT: Partition(
                gpt.BIOS_BOOT, LOADER_SECTOR, EFI_SECTOR - LOADER_SECTOR, "bios-boot"
            ),
            EFI_SYSTEM: Partition(gpt.EFI_SYSTEM, EFI_SECTOR, esp.SECTORS, "efi"),
        }
        return gpt.Table(uuid.uuid5(self.identity, "disk"), self.size // SECTOR, parts)


def write(path: Path, layout: DiskSpec, tree: Tree, root: Sysroot) -> None:
    """Write a disk with the files of a tree; `root` has the PACKAGES.

    Raises PackageError, ProgramFailed, FormatError, OSError, and Misused when it is too small.
    """
    if layout.root_size <= 0:
        raise Misused("the system does not fit on a disk of that --size")
    with output.unfinished(path) as unfinished, tempfile.TemporaryDirectory() as name:
        workroom = Path(name)
        with unfinished.open("wb") as file:
            file.truncate(layout.size)
            file.write(layout.table.at_the_start(boot_code(root)))
            file.write(loader(layout, root, workroom))
            file.seek(-gpt.AT_THE_END * SECTOR, 2)
            file.write(layout.table.at_the_end())
        _make_efi_system(unfinished, layout, root, workroom)
        _make_filesystem(unfinished, layout, root)
        _fill(unfinished, tree, root, workroom)


def boot_code(root: Sysroot) -> bytes:
    """Return GRUB's code for the first sector, which loads what is at LOADER_SECTOR."""
    code = bytearray(root.get(f"{GRUB_FILES}/boot.img").read_bytes())
    struct.pack_into("<Q", code, NEXT_OF_BOOT, LOADER_SECTOR)
    return bytes(code)


def loader(layout: DiskSpec, root: Sysroot, workroom: Path) -> bytes:
    """Return what is in the BIOS boot partition: GRUB with its configuration in it."""
    configuration, core = workroom / "bios.cfg", workroom / "core.img"
    configuration.write_text(BIOS_CONFIGURATION.format(layout.identity))
    words = ["--format", "i386-pc", "--directory", str(root.get(f"{GRUB_FILES}/moddep.lst").parent)]
    words += ["--prefix", "/boot", "--config", str(configuration), "--output", str(core)]
    programs.run(root.command("usr/bin/grub-mkimage", *words, *GRUB_MODULES))
    content = bytearray(core.read_bytes())
    if len(content) > (EFI_SECTOR - LOADER_SECTOR) * SECTOR:
        raise FormatError("GRUB does not fit into its partition")
    struct.pack_into("<Q", content, NEXT_OF_LOADER, LOADER_SECTOR + 1)
    return bytes(content)


def _make_efi_system(disk: Path, layout: DiskSpec, root: Sysroot, workroom: Path) -> None:
    configuration = workroom / "efi.cfg"
    configuration.write_text(EFI_CONFIGURATION.format(layout.identity))
    number = int.from_bytes(layout.identity.bytes[:4], "big")
    esp.make(disk, EFI_SECTOR, number, esp.files(EFI, root, configuration), root)


def _make_filesystem(disk: Path, layout: DiskSpec, root: Sysroot) -> None:
    """Make an empty ext4, the same each time."""
    extended = (
        f"offset={ROOT_SECTOR * SECTOR},root_owner=0:0,hash_seed={layout.identity},"
        "lazy_itable_init=1,nodiscard"
    )
    words = ["-q", "-F", "-t", "ext4", "-O", FEATURES, "-b", "4096", "-I", "256", "-m", "0"]
    words += ["-U", str(layout.identity), "-L", layout.name, "-E", extended]
    command = root.command("usr/sbin/mke2fs", *words, str(disk), f"{layout.root_size >> 10}k")
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
    target = f"{disk}?offset={ROOT_SECTOR * SECTOR}"
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
