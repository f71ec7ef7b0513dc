"""Tells of whatever a command does to watched directories, and whether the one door did it.

Python imports this by itself at its start. `WATCHED` names directories, `SEEN` a file, into which
go lines `door EVENT PATH`, and `AROUND EVENT PATH WHERE` for what another module does there. Looks
at names, of which Python tells no audit hook, are wrapped. A path that is not absolute may be
anywhere: only the door may have one.
"""

import os
import sys

OURS = __file__.partition("/tests/programs/")[0] + "/rhubarbe/"
DOOR = OURS + "shared/"
WATCHED = [os.path.realpath(place) for place in os.environ["WATCHED"].split(":")]
SEEN = os.open(os.environ["SEEN"], os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
ACTS = {
    "open", "os.chmod", "os.chown", "os.link", "os.listdir", "os.listxattr", "os.mkdir",
    "os.remove", "os.removexattr", "os.rename", "os.rmdir", "os.scandir", "os.setxattr",
    "os.symlink", "os.truncate", "os.utime", "shutil.chown", "shutil.copyfile", "shutil.copymode",
    "shutil.copystat", "shutil.copytree", "shutil.make_archive", "shutil.move", "shutil.rmtree",
    "shutil.unpack_archive", "glob.glob",
}  # fmt: skip
LOOKS = ("access", "lstat", "readlink", "stat", "statvfs")


def is_watched(path):
    """Whether a path is of a watched directory, or may be."""
    if not path.startswith("/"):
        return True
    path = os.path.normpath(path)
    return any(path == place or path.startswith(place + "/") for place in WATCHED)


def caller():
    """Return the file of ours that acts; None where none of ours does, as in an import."""
    frame = sys._getframe(2)
    while frame is not None:
        name = frame.f_code.co_filename
        if name.startswith("<frozen importlib"):
            return None
        if name.startswith(OURS):
            return name
        frame = frame.f_back
    return None


def note(event, arguments):
    """Write down what is done to a watched place."""
    if event == "sqlite3.connect":
        if arguments[0] != ":memory:":
            os.write(SEEN, f"AROUND {event} {arguments[0]!r} {caller()}\n".encode())
        return
    for each in arguments:
        if isinstance(each, str | bytes | os.PathLike):
            path = os.fsdecode(each)
            if event == "open" and path != str(arguments[0]):
                continue  # its mode
            if is_watched(path) and (where := caller()) is not None:
                word = (
                    f"door {event} {path!r}"
                    if where.startswith(DOOR)
                    else f"AROUND {event} {path!r} {where}"
                )
                os.write(SEEN, f"{word}\n".encode())


def hook(event, arguments):
    """Hear of an event."""
    if event in ACTS or event == "sqlite3.connect":
        note(event, arguments)


def wrapped(name, look):
    """Return a look at a name that is noted, too."""

    def noted(path, *more, **options):
        if isinstance(path, str | bytes | os.PathLike):
            note(f"os.{name}", (os.fspath(path),))
        return look(path, *more, **options)

    return noted


for each in LOOKS:
    original = getattr(os, each)
    setattr(os, each, wrapped(each, original))
    for able in (os.supports_dir_fd, os.supports_follow_symlinks, os.supports_fd):
        if original in able:
            able.add(getattr(os, each))
sys.addaudithook(hook)
