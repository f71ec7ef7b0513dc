"""The programs that a machine booted on the ramdisk has on its path.

They are small shell scripts around the real ones: each refuses what lies outside the node's own
directory and disk, so that a command meant for a node can never reach a device of the host.
"""

import shlex
import shutil
from pathlib import Path

from rhubarbe.testbed import programs

# commands that open nothing by name
PLAIN = (
    "date",
    "sleep",
    "true",
    "false",
    "hostname",
    "mktemp",
    "uname",
    "mkdir",
    "rmdir",
    "ls",
    "tr",
)
# commands that open, replace or remove the files they are given
GUARDED = (
    "cat",
    "rm",
    "cp",
    "mv",
    "tee",
    "head",
    "tail",
    "wc",
    "sha256sum",
    "md5sum",
    "grep",
    "stat",
)

GUARD = """\
# Sourced by the programs of the ramdisk: what a node may touch, and the faults it has.
refuse() { echo "${0##*/}: $1 is not on this node" >&2; exit 1; }

# inside PATH: it lies in the node's directory, or is its disk
inside() {
    case "$(READLINK -m -- "$1")" in
        "$NODE_DIR"|"$NODE_DIR"/*|"$NODE_DISK") ;;
        *) refuse "$1" ;;
    esac
}

# targets ARGS...: each one that can be a path is inside, also one that sticks to its option
targets() {
    local word
    for word in "$@"; do
        word=${word%%\\?*}
        case "$word" in
            -|'') ;;
            -*/*) inside "/${word#*/}" ;;
            -*) ;;
            *) inside "$word" ;;
        esac
    done
    return 0
}

# no_devices WORDS...: none of them is a device
no_devices() {
    local word
    for word in "$@"; do
        word=${word#*=}
        case "$word" in /dev/null|/dev/tty|/dev/std*|/dev/fd/*) continue ;; esac
        if [ -b "$word" ] || [ -c "$word" ]; then refuse "$word"; fi
    done
}

# fault NAME: it happens now; one time less is left
fault() {
    local file="$NODE_DIR/.faults/$1" left
    [ -f "$file" ] || return 1
    read -r left < "$file"
    case "$left" in
        always) return 0 ;;
        0) return 1 ;;
    esac
    echo $((left - 1)) > "$file"
    echo "$NODE $1" >> "$NODE_DIR/.faults/happened"
}
"""

FRISBEE = """\
case "$1" in --version) exec PYTHON "$@" ;; esac
targets "$@"
own=(-i "$NODE_IP")
for word in "$@"; do case "$word" in -i*) own=() ;; esac; done
client=(PYTHON --as-device "${own[@]}")
if fault frisbee-fails; then
    exec FAILING 8 frisbee "${client[@]}" "$@"
fi
if fault disk-errors; then
    # write(2) beyond this size fails; without the signal, which would end the client at once
    trap '' XFSZ
    ulimit -f LIMIT
fi
exec "${client[@]}" "$@"
"""

# what is mounted on the host is none of the node's business
MOUNTS = 'set -- "${@/#\\/proc\\/mounts/$NODE_DIR/.mounts}"\n'

# what writes the image that another engine brings; it fails in the middle as the client does
IMAGEUNZIP = """\
case "$1" in --version) exec PYTHON "$@" ;; esac
targets "$@"
program=(PYTHON --as-device)
if fault frisbee-fails; then
    exec FAILING 8 imageunzip "${program[@]}" "$@"
fi
if fault disk-errors; then
    trap '' XFSZ
    ulimit -f LIMIT
fi
exec "${program[@]}" "$@"
"""

# a node's programs have the node's address, on which aria2c is known to its peers
ARIA2 = """\
targets "$@"
exec PROGRAM --interface="$NODE_IP" "$@"
"""

DEBUGFS = """\
# requests hold paths of the file system and of the node: none may be a device of the host
set -f
script=
for word in "$@"; do
    if [ "$script" = next ]; then script=$word; fi
    case "$word" in
        -f) script=next ;;
        -f?*) script=${word#-f} ;;
    esac
    no_devices "${word%%\\?*}" $word
done
case "$script" in
    '') exec DEBUGFS "$@" ;;
    -) script=/dev/stdin ;;
esac
requests=$(< "$script")
no_devices $requests
exec DEBUGFS "$@" <<< "$requests"
"""

PROFILE = """\
# the shell's own settings: what is typed means what it says, and nothing is remembered
set +mH
unset HISTFILE
# the root of a node is its directory
cd() { if [ "$1" = / ]; then builtin cd "$NODE_DIR"; else builtin cd "$@"; fi; }
PS1="$NODE# "
"""


def write(directory: Path, *, fail_beyond: int) -> None:
    """Write the ramdisk's programs into `directory`/bin, and its shell's profile beside it.

    `fail_beyond`: bytes after which a write fails on a node with disk errors.
    Raises MissingProgram.
    """
    binaries = directory / "bin"
    binaries.mkdir(parents=True)
    guard = directory / "guard"
    guard.write_text(GUARD.replace("READLINK", programs.find("readlink")))
    (directory / "profile").write_text(PROFILE)
    for name, body in _scripts(fail_beyond).items():
        script = binaries / name
        script.write_text(f"#!{programs.find('bash')}\n. {shlex.quote(str(guard))}\n{body}")
        script.chmod(0o755)
    for name in PLAIN:
        if found := shutil.which(name):
            (binaries / name).symlink_to(found)


def _scripts(fail_beyond: int) -> dict[str, str]:
    scripts = {
        "frisbee": _failing(FRISBEE, "rhubarbe.frisbee.client", "frisbee", fail_beyond),
        "imageunzip": _failing(
            IMAGEUNZIP, "rhubarbe.imaging.imageunzip", "imageunzip", fail_beyond
        ),
        "imagezip": 'targets "$@"\nexec PYTHON "$@"\n'.replace(
            "PYTHON", _python("rhubarbe.imaging.imagezip", "imagezip")
        ),
        "nc": f'exec {_python("rhubarbe.testbed.netcat", "nc")} "$@"\n',
        "debugfs": DEBUGFS.replace("DEBUGFS", shlex.quote(programs.find("debugfs"))),
        "sync": f'exec {programs.find("sync")} "$NODE_DISK"\n',
    }
    if found := shutil.which("udp-receiver"):
        scripts["udp-receiver"] = f'exec {found} "$@"\n'
    if found := shutil.which("aria2c"):
        scripts["aria2c"] = ARIA2.replace("PROGRAM", found)
    for name in GUARDED:
        if found := shutil.which(name):
            scripts[name] = f'{MOUNTS}no_devices "$@"\nexec {found} "$@"\n'
    return scripts


def _failing(script: str, module: str, name: str, fail_beyond: int) -> str:
    """Fill in the script of a program of ours that has faults."""
    return (
        script.replace("PYTHON", _python(module, name))
        .replace("FAILING", _python("rhubarbe.testbed.failing", "failing"))
        .replace("LIMIT", str(fail_beyond >> 10))
    )


def _python(module: str, name: str) -> str:
    return shlex.join(programs.python_program(module, name))
