"""A machine to set up that is but a directory: users, packages, what those bring; and a ramdisk."""

import json
import stat
from pathlib import Path

from rhubarbe.cli.dispatch import main

PACKAGES = ("dnsmasq", "pxelinux", "syslinux-common")
MODULES = ("ldlinux.c32", "chain.c32", "libcom32.c32", "libutil.c32")
PASSWD = "root:x:0:0:root:/root:/bin/sh\nalice:x:4001:4001::/home/alice:/bin/sh\n"
GROUP = "root:x:0:\nadm:x:4:\nalice:x:4001:\n"
WHERE = ("--interface", "eth1", "--address", "192.168.3.100/24")


class Root:
    """The directory, and rhubarbe-setup about it."""

    def __init__(self, directory, capsys):
        self.path = directory / "root"
        self.ramdisk = directory / "ramdisk"
        self._capsys = capsys
        for name, text in {
            "etc/passwd": PASSWD,
            "etc/group": GROUP,
            "usr/lib/PXELINUX/pxelinux.0": "pxelinux\n",
            **{f"usr/lib/syslinux/modules/bios/{name}": f"{name}\n" for name in MODULES},
        }.items():
            self.write(name, text)
        self.have_packages(*PACKAGES)
        entries = ("pxelinux.cfg/pxefrisbee", "grub/pxefrisbee", "ipxe/pxefrisbee.ipxe")
        for name in ("vmlinuz", "initrd", *entries):
            path = self.ramdisk / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{name}\n")

    def __truediv__(self, name):
        return self.path / name

    def write(self, name, text):
        path = self / name
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
        path.write_text(text)

    def have_packages(self, *names):
        self.write(
            "var/lib/dpkg/status",
            "".join(
                f"Package: {name}\nStatus: install ok installed\nMaintainer: x\nArchitecture: all\n"
                f"Version: 1\nDescription: x\n\n"
                for name in names
            ),
        )

    def write_inventory(self, path, *addresses):
        nodes = [
            {
                "cmc": {"hostname": f"reboot{n:02d}", "ip": f"192.168.1.{n}", "mac": ""},
                "control": {"hostname": f"fit{n:02d}", "ip": ip, "mac": f"02:00:00:00:03:{n:02x}"},
            }
            for n, ip in enumerate(addresses, start=1)
        ]
        for node in nodes:
            node["cmc"]["mac"] = node["control"]["mac"].replace(":03:", ":01:")
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(json.dumps(nodes))
        return path

    def setup(self, *words, where=WHERE):
        """Run rhubarbe-setup; return its exit code, and all that it said."""
        words = ("--root", str(self.path), "--ramdisk", str(self.ramdisk), *where, *words)
        code = main(["rhubarbe-setup", *words])
        said = self._capsys.readouterr()
        return code, said.out + said.err

    def undo(self, *words):
        code = main(["rhubarbe-setup", "--root", str(self.path), "--undo", *words])
        said = self._capsys.readouterr()
        return code, said.out + said.err

    def everything(self):
        """All there is: kind, mode, owner, group, content, and when it was changed."""
        found = {}
        for path in sorted(self.path.rglob("*")):
            status = path.lstat()
            content = str(path.readlink()) if path.is_symlink() else ""
            if path.is_file() and not path.is_symlink():
                content = path.read_bytes()
            # that of a directory changes with what is in it
            when = 0 if stat.S_ISDIR(status.st_mode) else status.st_mtime_ns
            name = str(path.relative_to(self.path))
            if name not in ("etc/group-", "etc/gshadow-", "etc/group", "etc/gshadow"):
                found[name] = (status.st_mode, status.st_uid, status.st_gid, content, when)
        return found

    def groups(self):
        lines = (self / "etc/group").read_text().splitlines()
        return {line.split(":")[0]: line.split(":")[2:] for line in lines}
