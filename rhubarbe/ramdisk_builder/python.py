"""The Python of the ramdisk: Debian's, with our own frisbee and imagezip, compiled beforehand.

It is compiled by itself, out of the packages, so that this machine's Python may be another one.
Compiled files carry no times, and start in a tenth of the time that sources take.
"""

import importlib.util
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from rhubarbe.ramdisk_builder import programs
from rhubarbe.ramdisk_builder.errors import PackageError
from rhubarbe.ramdisk_builder.libraries import Sysroot, add_binary
from rhubarbe.ramdisk_builder.tree import Tree

PACKAGES = ("python3-minimal", "libpython3-stdlib", "libgcc-s1")
OURS = Path(__file__).resolve().parents[1]
HOME = "usr/lib/rhubarbe"
MODULES = ("__init__.py", "start.py", "text.py", "version.py")
ROOMS = ("annexe", "disk", "ndz", "imaging", "frisbee")
OF_THE_GATEWAY = ("frisbee/access.py", "frisbee/mfrisbeed.py", "frisbee/served.py")
WHEELS = ("isal", "zlib_ng", "blake3")
COMMANDS = {
    "frisbee": "rhubarbe.frisbee.client",
    "imagezip": "rhubarbe.imaging.imagezip",
    "imageunzip": "rhubarbe.imaging.imageunzip",
}
COMMAND = """\
#!/usr/bin/python3 -ISB
import sys
sys.path.insert(0, "/{home}")
sys.argv[0] = "{name}"
from {module} import main
sys.exit(main())
"""

# Packages, modules and extensions that nothing on a node needs, or that need big libraries.
_LEFT_OUT = re.compile(
    r"(__phello__|__pycache__|asyncio|config-[^/]*|curses|dbm|distutils|email|ensurepip|html|http"
    r"|idlelib|lib2to3|msilib|multiprocessing|pydoc_data|sqlite3|test|tkinter|turtledemo|unittest"
    r"|venv|wsgiref|xml|xmlrpc|zoneinfo)/.*"
    r"|encodings/(?!(__init__|aliases|ascii|cp437|idna|latin_1|punycode|utf_.*)\.).*"
    r"|(_aix_support|_bootsubprocess|_distutils_\w+|_osx_support|_pydecimal|_pyio|_sysconfigdata\w*"
    r"|aifc|antigravity|asynchat|asyncore|bdb|cProfile|cgi|cgitb|chunk|code|codeop|colorsys|crypt"
    r"|doctest|ftplib|imaplib|imghdr|mailbox|mailcap|modulefinder|netrc|nntplib|nturl2path|optparse"
    r"|pdb|pickletools|pipes|plistlib|poplib|profile|pstats|pyclbr|pydoc|rlcompleter|shelve|smtpd"
    r"|smtplib|sndhdr|ssl|statistics|sunau|symtable|tabnanny|telnetlib|this|trace|turtle|uu|wave"
    r"|webbrowser|xdrlib|zipapp)(\.|-).*"
    r"|lib-dynload/(_asyncio|_codecs|_crypt|_ctypes_test|_curses|_dbm|_decimal|_gdbm|_hashlib"
    r"|_lsprof|_multibytecodec|_multiprocessing|_posixshmem|_sqlite3|_ssl|_test|_tkinter|_xx"
    r"|_zoneinfo|audioop|nis|ossaudiodev|readline|xx)\w*\..*"
)
# Reads a line `SOURCE TAB NAME` for each file; writes the compiled ones as NUMBER.pyc.
_COMPILER = """\
import py_compile, sys
mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
for number, line in enumerate(sys.stdin):
    source, name = line.rstrip("\\n").split("\\t")
    py_compile.compile(source, f"{sys.argv[1]}/{number}.pyc", name, True, invalidation_mode=mode)
"""


def add_python(tree: Tree, root: Sysroot, tell: Callable[[str], None]) -> None:
    """Add Python and the commands frisbee, imagezip, imageunzip; `tell` is told what is lacking.

    Raises PackageError, ProgramFailed, FormatError, OSError.
    """
    version = _version(root)
    add_binary(tree, root, f"usr/bin/python{version}")
    tree.add_link("usr/bin/python3", f"python{version}")
    sources = dict(_library(root, version)) | dict(_ours()) | dict(_wheels(root, version, tell))
    for path, file in sources.items():
        if file.suffix == ".so":
            add_binary(tree, root, path, file)
    compiled = _compile(root, version, {p: f for p, f in sources.items() if f.suffix == ".py"})
    for path, content in compiled.items():
        tree.add_file(f"{path}c", content)
    tree.add_file(f"{HOME}/rhubarbe/VERSION", OURS / "VERSION")
    for name, module in COMMANDS.items():
        script = COMMAND.format(home=HOME, name=name, module=module)
        tree.add_program(f"usr/bin/{name}", script)


def _version(root: Sysroot) -> str:
    for place in sorted(root.directory.glob("usr/lib/python3.*/os.py")):
        return place.parent.name.removeprefix("python")
    raise PackageError("python3-minimal brought no Python")


def _library(root: Sysroot, version: str) -> Iterator[tuple[str, Path]]:
    base = root.directory / "usr/lib" / f"python{version}"
    for file in sorted(base.rglob("*")):
        path = str(file.relative_to(base))
        if file.suffix in {".py", ".so"} and not _LEFT_OUT.fullmatch(path):
            yield f"usr/lib/python{version}/{path}", file


def _ours() -> Iterator[tuple[str, Path]]:
    for name in MODULES:
        yield f"{HOME}/rhubarbe/{name}", OURS / name
    for room in ROOMS:
        for file in sorted((OURS / room).rglob("*.py")):
            if str(file.relative_to(OURS)) in OF_THE_GATEWAY:
                continue
            yield f"{HOME}/rhubarbe/{file.relative_to(OURS)}", file


def _wheels(root: Sysroot, version: str, tell: Callable[[str], None]) -> Iterator[tuple[str, Path]]:
    """Yield the files of faster zlibs and digests, as far as they are installed here and fit."""
    running = f"{sys.version_info.major}.{sys.version_info.minor}"
    for name in WHEELS:
        spec = importlib.util.find_spec(name)
        if spec is None or spec.origin is None:
            tell(f"{name} is not installed here: the ramdisk does without it, slower")
        elif root.is_foreign:
            tell(f"{name} is for this machine's processor: the ramdisk does without it, slower")
        elif running != version:
            tell(f"{name} is for Python {running}, the ramdisk's {version} does without, slower")
        else:
            directory = Path(spec.origin).parent
            for file in sorted(directory.iterdir()):
                if file.suffix in {".py", ".so"}:
                    yield f"{HOME}/{name}/{file.name}", file


def _compile(root: Sysroot, version: str, sources: dict[str, Path]) -> dict[str, bytes]:
    """Return the compiled form of each source, by its path."""
    lines = "".join(f"{file}\t/{path}\n" for path, file in sources.items())
    with tempfile.TemporaryDirectory(prefix="rhubarbe-ramdisk-") as output:
        words = ("-S", "-s", "-B", "-c", _COMPILER, output)
        command = root.command(f"usr/bin/python{version}", *words)
        home = {"PYTHONHOME": str(root.directory / "usr"), "PYTHONHASHSEED": "0"}
        programs.run(command, text=lines, environment=home)
        return {
            path: Path(output, f"{number}.pyc").read_bytes() for number, path in enumerate(sources)
        }
