"""Kernel modules: those chosen and all that they need, with the indexes that modprobe reads.

What a module needs, and for which devices it is, it says itself in its modinfo: neither depmod nor
the names of this machine's modules are asked.
"""

import lzma
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from rhubarbe.ramdisk_builder import elf
from rhubarbe.ramdisk_builder.errors import FormatError, PackageError
from rhubarbe.ramdisk_builder.tree import Tree

SUFFIXES = (".ko", ".ko.xz")
CRYPTO = ("crypto", "arch/x86/crypto", "arch/arm64/crypto")
"""Where the modules are that bring algorithms."""


@dataclass(frozen=True, slots=True)
class Module:
    """One module: its path below lib/modules/RELEASE without compression, and what it says.

    `needs` are names of modules, `wants` those of algorithms, of which the kernel will ask modprobe
    for those that it has not built in.
    """

    name: str
    path: str
    content: bytes
    needs: tuple[str, ...]
    wants: tuple[str, ...]
    aliases: tuple[str, ...]
    firmware: tuple[str, ...]


class Modules:
    """All modules of a kernel; `directory` is its lib/modules/RELEASE."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._files = {
            _name(file.name): file
            for file in sorted((directory / "kernel").rglob("*.ko*"))
            if file.name.endswith(SUFFIXES)
        }
        self._read: dict[str, Module] = {}

    @property
    def release(self) -> str:
        """What `uname -r` will say."""
        return self._directory.name

    def __contains__(self, name: str) -> bool:
        return _name(name) in self._files

    def below(self, *places: str) -> list[str]:
        """Return the names of the modules in directories below kernel/."""
        wanted = tuple(f"{self._directory}/kernel/{place}/" for place in places)
        return [name for name, file in self._files.items() if str(file).startswith(wanted)]

    def read(self, name: str) -> Module:
        """Read a module; raises FormatError, PackageError, OSError."""
        name = _name(name)
        if name not in self._read:
            if name not in self._files:
                raise PackageError(f"the kernel {self.release} has no module {name}")
            self._read[name] = self._parse(name, self._files[name])
        return self._read[name]

    def _parse(self, name: str, file: Path) -> Module:
        content = file.read_bytes()
        if file.suffix == ".xz":
            try:
                content = lzma.decompress(content)
            except lzma.LZMAError as error:
                raise FormatError(f"{file} is damaged: {error}") from error
        said = list(elf.Elf(content, str(file)).modinfo())
        needs = [each for key, value in said if key == "depends" for each in value.split(",")]
        softly = [each for key, value in said if key == "softdep" for each in _before(value)]
        needs += [each for each in softly if each in self]
        wants = [each for each in softly if each not in self]
        path = str(file.relative_to(self._directory)).removesuffix(".xz")
        aliases = tuple(value for key, value in said if key == "alias")
        firmware = tuple(value for key, value in said if key == "firmware")
        needed = tuple(filter(None, needs))
        return Module(name, path, content, needed, tuple(wants), aliases, firmware)

    def algorithms(self, wanted: Collection[str]) -> list[str]:
        """Return the names of the modules that bring algorithms of these names.

        Raises FormatError, OSError.
        """
        names = self.below(*CRYPTO) if wanted else []
        return [name for name in names if not set(wanted).isdisjoint(self.read(name).aliases)]

    def in_order(self, names: Iterable[str]) -> list[Module]:
        """Return modules and all that they need, each after what it needs.

        Raises FormatError, PackageError, OSError.
        """
        ordered: dict[str, Module] = {}
        for name in names:
            self._visit(_name(name), ordered, set())
        return list(ordered.values())

    def _visit(self, name: str, ordered: dict[str, Module], above: set[str]) -> None:
        if name in ordered or name in above:  # two may name each other in a softdep
            return
        module = self.read(name)
        for need in module.needs:
            self._visit(_name(need), ordered, above | {name})
        ordered[name] = module


def add_modules(tree: Tree, modules: Modules, names: Collection[str]) -> None:
    """Add modules and all that they need, with modules.dep and modules.alias.

    Raises FormatError, PackageError, OSError.
    """
    chosen = modules.in_order(names)
    wanted = {each for module in chosen for each in module.wants}
    chosen = modules.in_order([*names, *modules.algorithms(wanted)])
    base = f"usr/lib/modules/{modules.release}"
    for module in chosen:
        tree.add_file(f"{base}/{module.path}", module.content)
    dependencies = sorted(_dependencies(modules, chosen))
    tree.add_file(f"{base}/modules.dep", "".join(f"{line}\n" for line in dependencies))
    aliases = sorted(f"alias {alias} {each.name}\n" for each in chosen for alias in each.aliases)
    tree.add_file(f"{base}/modules.alias", "".join(aliases))


def _dependencies(modules: Modules, chosen: Iterable[Module]) -> Iterator[str]:
    """Yield the lines of modules.dep, in which what is loaded first comes last."""
    for module in chosen:
        *needed, _ = modules.in_order([module.name])
        yield " ".join([f"{module.path}:", *(each.path for each in reversed(needed))])


def _before(softdep: str) -> list[str]:
    """Return what is to be loaded before, of `pre: NAME... post: NAME...`."""
    _, _, rest = softdep.partition("pre:")
    return rest.partition("post:")[0].split()


def _name(text: str) -> str:
    """Return the name that a module is known by, from that of its file."""
    return text.partition(".")[0].replace("-", "_")
