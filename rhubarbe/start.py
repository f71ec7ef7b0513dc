"""How every program of ours starts, before it looks at its arguments.

- Text is UTF-8, whatever the locale: else one file would have another name for a colleague whose
  locale is another, and what one command notes, another would not find. Names that are no UTF-8
  are carried as Python does (PEP 383), byte for byte.
- The standard streams take any text. Into files and pipes, names go as the bytes that they are; on
  a terminal, what it could not show is escaped.
- A standard stream that is closed leads nowhere: else the next file that is opened would be it.
  What is written there is lost all the same, and who loses something ends with 1.
- As many files may be open as the system lets us.
- Whoever has no name on this machine gets one, by number: libraries refuse to work without.
"""

from __future__ import annotations

import codecs
import errno
import os
import pwd
import resource
import signal
import sys
from collections.abc import Callable
from io import BufferedReader, BufferedWriter, FileIO, TextIOWrapper
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


# Programs that first close every descriptor that they may have inherited would take minutes with
# more.
MOST_FILES = 1 << 20
ESCAPED, EXACT = "rhubarbe-escaped", "rhubarbe-exact"
UNWRITABLE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF})


def begin() -> None:
    """Make this process as described above; it may be started again, so call this first."""
    _speak_utf8()
    codecs.register_error(ESCAPED, _escape)
    codecs.register_error(EXACT, _keep)
    _have_standard_streams()
    for stream in (sys.stdout, sys.stderr):
        _take_any_text(stream)
    open_many_files()
    _have_a_name()


def run(program: Callable[[], int]) -> int:
    """Run one of our programs; where its output cannot be written, say so, and return 1.

    Interrupted, the process dies of the signal and says nothing more: who reads may hold it up.
    """
    try:
        try:
            return program() or lost_complaints()
        finally:  # also after --help, which exits
            sys.stdout.flush()
    except BrokenPipeError:
        write_no_more()  # whoever read our output has had enough
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    except OSError as error:
        if error.filename is not None or error.errno not in UNWRITABLE:
            raise
        write_no_more()
        name = sys.argv[0].rpartition("/")[2]
        sys.stderr.write(f"{name}: the output cannot be written: {error.strerror}\n")
    return 1


def write_no_more(number: int = 1) -> None:
    """Turn a standard stream to nowhere, lest the interpreter complain when it flushes at exit."""
    stream = sys.stdout if number == 1 else sys.stderr
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, stream.fileno())
    except (AttributeError, OSError, ValueError):  # closed, or in memory
        return
    finally:
        os.close(nowhere)


def _have_a_name() -> None:
    """Set LOGNAME where neither the environment nor the system knows who we are."""
    if any(map(os.environ.get, ("LOGNAME", "USER", "LNAME", "USERNAME"))):
        return
    try:
        pwd.getpwuid(os.getuid())
    except KeyError:
        os.environ["LOGNAME"] = f"uid-{os.getuid()}"


def _speak_utf8() -> None:
    """Start again in Python's UTF-8 mode where the locale has another encoding."""
    if sys.getfilesystemencoding() != "utf-8" and not sys.flags.utf8_mode and sys.executable:
        words = [sys.executable, "-X", "utf8", *sys.orig_argv[1:]]
        os.execv(sys.executable, words)  # noqa: S606 - no shell


def _have_standard_streams() -> None:
    """Open those that are closed towards `/dev/null`, in order, so that each has its number."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            # For reading only, so that a write fails, also one by number.
            nowhere = os.open(os.devnull, os.O_RDONLY)
            if nowhere == number:
                os.set_inheritable(number, True)  # noqa: FBT003 - as those of all processes
            raw = _Lost(nowhere) if name == "stderr" else FileIO(nowhere, "w" if number else "r")
            buffer = BufferedWriter(raw) if number else BufferedReader(raw)
            setattr(sys, name, TextIOWrapper(buffer, "utf-8", line_buffering=name == "stderr"))


class _Lost(FileIO):
    """A standard error that was closed: what is written to it is lost, and that is remembered."""

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor, "w")
        self.has_lost = False

    def write(self, content: ReadableBuffer, /) -> int:
        """Lose it."""
        self.has_lost = True
        return len(memoryview(content))


def lost_complaints() -> int:
    """Return 1 if something was written to a standard error that is closed, else 0."""
    raw = getattr(getattr(sys.stderr, "buffer", None), "raw", None)
    return int(isinstance(raw, _Lost) and raw.has_lost)


def _take_any_text(stream: object) -> None:
    if not isinstance(stream, TextIOWrapper):  # somebody's own
        return
    errors = ESCAPED if stream.isatty() else EXACT
    encoding = None
    if sys.flags.utf8_mode and errors == ESCAPED and "PYTHONIOENCODING" not in os.environ:
        encoding = _terminal_encoding()
    stream.reconfigure(encoding=encoding, errors=errors)


def _terminal_encoding() -> str | None:
    """Return the encoding of the locale; None for that of C, which only says that it is not set."""
    import locale

    encoding = locale.getencoding()
    try:
        return None if codecs.lookup(encoding).name == "ascii" else encoding
    except LookupError:  # Python does not know it
        return None


def _escape(error: UnicodeError) -> tuple[str, int]:
    r"""Write a byte that is no text as `\xe9`, and a letter that the terminal lacks likewise."""
    from rhubarbe.text import BYTES  # seldom needed

    text, end = _culprit(error)
    return text.translate(BYTES).encode("ascii", "backslashreplace").decode("ascii"), end


def _keep(error: UnicodeError) -> tuple[str | bytes, int]:
    """Write a byte that is no text as the byte that it is; escape what the encoding lacks."""
    text, end = _culprit(error)
    try:
        return text.encode("ascii", "surrogateescape"), end
    except UnicodeEncodeError:
        return _escape(error)


def _culprit(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return error.object[error.start : error.end], error.end


def open_many_files() -> None:
    """Raise the limit of open files as far as it goes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (OSError, ValueError):  # forbidden by some sandbox: we go on with what there is
            return
