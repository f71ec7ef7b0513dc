"""Programs out of unpacked packages into a tree, each with its loader and libraries.

The libraries are those that the ELF headers name, found in the packages.
"""

import os
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from rhubarbe.ramdisk_builder import elf, programs
from rhubarbe.ramdisk_builder.errors import PackageError
from rhubarbe.ramdisk_builder.tree import Tree

MERGED = ("bin", "lib", "lib64", "sbin")
"""Directories of which some packages still say that they are not below usr."""


def add_merged_directories(tree: Tree) -> None:
    """Make /bin and the like links to those below /usr, as Debian has them."""
    for name in MERGED:
        tree.add_directory(f"usr/{name}")
        tree.add_link(name, f"usr/{name}")


class Sysroot:
    """The files of unpacked packages, below a directory.

    Where they are for another architecture than this machine's, `tools` has those of this one.
    """

    def __init__(self, directory: Path, tools: "Sysroot | None" = None) -> None:
        self.directory = directory
        self._tools = tools
        self._libraries: dict[str, str] | None = None

    @property
    def is_foreign(self) -> bool:
        """Whether they are for another architecture than this machine's."""
        return self._tools is not None

    def find(self, path: str) -> Path | None:
        """Return the file that a path in the packages means, or None; links are followed inside."""
        path = path.lstrip("/")
        for _ in range(16):
            real = next((each for each in self._places(path) if os.path.lexists(each)), None)
            if real is None or not real.is_symlink():
                return real
            target = PurePosixPath("/", path).parent / real.readlink()
            path = os.path.normpath(target).lstrip("/")
        return None

    def _places(self, path: str) -> list[Path]:
        merged = path.removeprefix("usr/")
        places = [self.directory / path]
        if merged.split("/")[0] in MERGED:
            places += [self.directory / merged, self.directory / "usr" / merged]
        return places

    def get(self, path: str) -> Path:
        """Return the file that a path in the packages means; raises PackageError."""
        found = self.find(path)
        if found is None:
            raise PackageError(f"/{path.lstrip('/')} is in none of the packages")
        return found

    def find_program(self, name: str) -> str | None:
        """Return the path of a program in the packages, or None."""
        for place in ("usr/bin", "usr/sbin"):
            if self.find(f"{place}/{name}"):
                return f"{place}/{name}"
        return None

    def find_library(self, name: str) -> str | None:
        """Return the path of a library by its soname, or None."""
        if self._libraries is None:
            self._libraries = {}
            for pattern in ("lib*/*.so*", "lib/*/*.so*"):
                for prefix in ("", "usr/"):
                    for file in sorted(self.directory.glob(prefix + pattern)):
                        path = str(file.relative_to(self.directory))
                        self._libraries.setdefault(file.name, path)
        return self._libraries.get(name)

    def command(self, path: str, *words: str) -> list[str]:
        """Return the arguments that run a program of the packages here, with its own libraries.

        Raises PackageError, FormatError, OSError.
        """
        if self._tools is not None:
            return self._tools.command(path, *words)
        program = self.get(path)
        loader = elf.read(program).interpreter()
        if not loader:
            return [str(program), *words]
        places = {self.directory / "usr/lib", self.directory / "lib"}
        for pattern in ("lib/*-linux-*", "usr/lib/*-linux-*"):
            places.update(self.directory.glob(pattern))
        path_list = ":".join(str(place) for place in sorted(places))
        return [str(self.get(loader)), "--library-path", path_list, str(program), *words]


def add_binary(tree: Tree, root: Sysroot, path: str, source: Path | None = None) -> None:
    """Add a program or library, its loader, and the libraries that these need.

    It comes from the packages, or from another `source`. Raises PackageError, FormatError, OSError.
    """
    source = source or root.get(path)
    tree.add_program(path, source)
    if not elf.is_elf(source):
        return
    binary = elf.read(source)
    loader = binary.interpreter()
    if loader and tree.resolve(loader.lstrip("/")) not in tree:
        tree.add_program(loader.lstrip("/"), root.get(loader))
    for name in binary.needed():
        add_library(tree, root, name, needed_by=path)


def add_library(tree: Tree, root: Sysroot, name: str, *, needed_by: str) -> None:
    """Add a library by its soname, and those that it needs; raises PackageError, FormatError."""
    path = root.find_library(name)
    if path is None:
        raise PackageError(f"{needed_by} needs {name}, which is in none of the packages")
    if tree.resolve(path) not in tree:
        add_binary(tree, root, path, root.get(path))


def add_own_program(tree: Tree, root: Sysroot, file: Path) -> None:
    """Add a program of this machine as /usr/bin/NAME, with what ldd says that it loads.

    A library that the packages have too is taken from there: it fits the loader. Raises
    ProgramFailed, PackageError, FormatError, OSError.
    """
    tree.add_program(f"usr/bin/{file.name}", file)
    if not elf.is_elf(file):
        return
    binary = elf.read(file)
    if not binary.interpreter():
        return
    loader = binary.interpreter().lstrip("/")
    if tree.resolve(loader) not in tree:
        tree.add_program(loader, root.find(loader) or Path("/", loader))
    for name, place in _loaded(programs.run([programs.find("ldd"), str(file)]).splitlines()):
        if root.find_library(name):
            add_library(tree, root, name, needed_by=file.name)
        elif place is None:
            raise PackageError(f"{file} needs {name}, which is not on this machine")
        elif tree.resolve(f"usr/lib/{name}") not in tree:
            tree.add_program(f"usr/lib/{name}", place)


def _loaded(lines: Iterable[str]) -> list[tuple[str, Path | None]]:
    """Read the lines `NAME => /PATH (ADDRESS)` and `NAME => not found` of ldd."""
    loaded: list[tuple[str, Path | None]] = []
    for line in lines:
        name, arrow, place = line.strip().partition(" => ")
        if arrow:
            loaded.append((name, Path(place.split(" (")[0]) if place.startswith("/") else None))
    return loaded
