"""Which files a boot entry names, in the words of pxelinux, GRUB or iPXE. Pure: text to names."""

import re
from collections.abc import Iterable, Sequence

LONGEST_ENTRY = 1 << 16
MOST_FILES = 16
_KERNELS = frozenset({"kernel", "linux", "linuxefi", "com32", "chain", "chainloader"})
_INITRDS = frozenset({"initrd", "initrdefi"})
_IN_ARGUMENTS = re.compile(r"(?:^|\s)initrd=(\S+)", re.IGNORECASE)
# Programs of pxelinux itself, and what is built into GRUB and iPXE, lie elsewhere or nowhere.
_OTHERS = re.compile(r"\.c32$|^\w+://|[$@{]", re.IGNORECASE)


def files_in(text: str) -> list[str]:
    """Return the kernel and the initrds that an entry boots, by their names as it says them.

    What is called by a variable, or fetched otherwise than by TFTP, is not among them.
    """
    lines = [words for line in text.splitlines() if (words := line.split("#")[0].split())]
    names = [name for words in _default(lines) for name in _named(words)]
    plain = (name.removeprefix("(tftp)").removeprefix("::") for name in names)
    return [name for name in dict.fromkeys(plain) if name and not _OTHERS.search(name)][:MOST_FILES]


def _default(lines: Sequence[list[str]]) -> Iterable[list[str]]:
    """Return the lines of pxelinux's default label, else of the first; all in other words."""
    labels: dict[str, list[list[str]]] = {}
    before: list[list[str]] = []
    block, default = before, ""
    for words in lines:
        keyword, rest = words[0].lower(), " ".join(words[1:])
        if keyword == "label":
            block = labels.setdefault(rest, [])
        elif keyword in ("default", "ontimeout"):
            default = default or rest
        else:
            block.append(words)
    if default and default not in labels:  # a kernel itself
        return [*before, ["kernel", *default.split()]]
    return [*before, *labels.get(default, next(iter(labels.values()), []))]


def _named(words: Sequence[str]) -> list[str]:
    keyword, rest = words[0].lower(), [word for word in words[1:] if not word.startswith("--")]
    text = " ".join(rest)
    if keyword in _KERNELS and rest:
        return [rest[0], *_in_arguments(text)]
    if keyword in _INITRDS:
        return [name for word in rest for name in word.split(",")]
    return _in_arguments(text) if keyword in ("append", "imgargs") else []


def _in_arguments(text: str) -> list[str]:
    found = _IN_ARGUMENTS.search(text)
    return found[1].split(",") if found else []
