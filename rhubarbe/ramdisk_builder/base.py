"""What the ramdisk and the sample system have in common: busybox, drivers, network, ssh."""

from collections.abc import Collection
from pathlib import Path

from rhubarbe.ramdisk_builder import programs
from rhubarbe.ramdisk_builder.errors import PackageError
from rhubarbe.ramdisk_builder.libraries import Sysroot, add_binary, add_merged_directories
from rhubarbe.ramdisk_builder.modules import Modules
from rhubarbe.ramdisk_builder.packages import Packages
from rhubarbe.ramdisk_builder.tree import Tree

FILES = Path(__file__).parent / "files"
PACKAGES = ("busybox-static", "dropbear-bin", "libgcc-s1")
KERNELS = {"cloud": "linux-image-cloud-{}", "full": "linux-image-{}"}
DISKS_AND_CARDS = (
    *("virtio_pci", "virtio_mmio", "virtio_net", "virtio_blk", "virtio_scsi"),
    *("ata_piix", "ahci", "nvme", "sd_mod", "e1000", "e1000e", "igb", "r8169"),
)
FILESYSTEMS = ("ext4", "vfat", "nls_cp437", "nls_iso8859_1", "nls_ascii")
FOR_PARTCLONE = ("loop",)
# A node's root partition, which save stamps, may have one of these; their modules are large.
MORE_FILESYSTEMS = ("xfs", "btrfs", "f2fs", "jfs", "exfat")
# mount tries these where nobody says which: a kernel lists none whose module is not loaded yet.
TRIED_FILESYSTEMS = ("ext4", *MORE_FILESYSTEMS, "vfat")
REAL_HARDWARE = (
    *("drivers/net/ethernet", "drivers/net/phy", "drivers/net/mdio", "drivers/net/usb"),
    *("drivers/net/vmxnet3", "drivers/ata", "drivers/scsi", "drivers/nvme", "drivers/virtio"),
    *("drivers/message/fusion", "drivers/usb/host", "drivers/usb/storage", "drivers/mmc"),
    *("drivers/misc/cardreader", "drivers/ufs", "drivers/nvdimm", "drivers/hid"),
)
MORE_NAMES = (
    *("vmd", "mtip32xx", "firewire_ohci", "firewire_sbp2"),
    *("xen_blkfront", "xen_netfront", "hv_netvsc", "hv_storvsc"),
)
PATH_OF_KEYS = "root/.ssh/authorized_keys"


class Kernel:
    """A kernel of Debian's: the file to boot, and its modules."""

    def __init__(self, root: Sysroot, package: str) -> None:
        images = sorted(root.directory.glob("boot/vmlinu[xz]-*"))
        trees = sorted(root.directory.glob("lib/modules/*/kernel"))
        trees += sorted(root.directory.glob("usr/lib/modules/*/kernel"))
        if not images or not trees:
            raise PackageError(f"{package} brings no kernel")
        self.image = images[-1]
        self.modules = Modules(trees[-1].parent)


def unpack_kernel(packages: Packages, wanted: str, architecture: str) -> Kernel:
    """Get a kernel: `cloud`, `full`, or that of a package; raises PackageError."""
    package = KERNELS.get(wanted, wanted).format(architecture)
    return Kernel(Sysroot(packages.unpack([package], ["kernel"])), package)


def drivers(modules: Modules, *, is_small: bool) -> list[str]:
    """Return the names of the modules that a machine may need, as far as the kernel has them."""
    names = [*DISKS_AND_CARDS, *FILESYSTEMS, *FOR_PARTCLONE]
    if not is_small:
        names += [*MORE_FILESYSTEMS, *MORE_NAMES, *modules.below(*REAL_HARDWARE)]
    return [name for name in names if name in modules]


def add_busybox(tree: Tree, root: Sysroot) -> None:
    """Add busybox, its other names, and what any system of ours has in /etc.

    Raises PackageError, ProgramFailed, OSError.
    """
    add_merged_directories(tree)
    add_binary(tree, root, "usr/bin/busybox")
    for applet in programs.run(root.command("usr/bin/busybox", "--list-full")).split():
        if tree.resolve(applet) not in tree:
            tree.add_link(applet, "/usr/bin/busybox")
    tree.add_link("init", "/usr/bin/busybox")
    for name in ("dev", "proc", "sys", "run", "mnt", "var"):
        tree.add_directory(name)
    tree.add_directory("tmp", 0o1777)
    tree.add_directory("root", 0o700)
    tree.add_link("var/run", "/run")
    tree.add_device("dev/console", 5, 1)
    tree.add_device("dev/null", 1, 3, 0o666)
    tree.add_file("etc/passwd", "root:*:0:0:root:/root:/bin/sh\n")
    tree.add_file("etc/group", "root:x:0:\ntty:x:5:\n")
    tree.add_file("etc/shells", "/bin/sh\n")
    tree.add_file("etc/hosts", "127.0.0.1 localhost\n")
    tree.add_file("etc/filesystems", "".join(f"{name}\n" for name in TRIED_FILESYSTEMS))
    for name in ("network", "profile"):
        tree.add_file(f"etc/{name}", FILES / name)
    tree.add_program("etc/udhcpc.script", FILES / "udhcpc.script")


def add_what_ends_threads(tree: Tree, root: Sysroot) -> None:
    """Add the library that glibc loads by name when a thread ends, and aborts without."""
    add_binary(tree, root, root.find_library("libgcc_s.so.1") or "usr/lib/libgcc_s.so.1")


def add_ssh(tree: Tree, root: Sysroot, keys: Collection[str]) -> str:
    """Add a service of ssh that lets root in by these keys; returns its lines of inittab."""
    for path in ("usr/sbin/dropbear", "usr/bin/dropbearkey"):
        add_binary(tree, root, path)
    add_what_ends_threads(tree, root)
    tree.add_directory("root/.ssh", 0o700)
    tree.add_file(PATH_OF_KEYS, "".join(f"{key}\n" for key in keys), 0o600)
    tree.add_program("usr/sbin/ssh-service", FILES / "ssh-service")
    return "::respawn:/usr/sbin/ssh-service\n"
