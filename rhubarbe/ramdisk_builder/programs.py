"""The programs of this machine that a build runs: where they are, and one run of each."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from rhubarbe.annexe import programs
from rhubarbe.annexe.errors import MissingProgram, ProgramFailed

PACKAGES = {"apt-get": "apt", "apt-cache": "apt", "dpkg-deb": "dpkg"}


def find(name: str) -> str:
    """Return the path of a program; raises MissingProgram, which names the Debian package."""
    found = programs.locate(name)
    if found is None:
        package = PACKAGES.get(name, name)
        raise MissingProgram(f"{name} is not installed (Debian's package {package})")
    return found


def run(
    arguments: Sequence[str],
    *,
    limit: float = 300,
    text: str = "",
    environment: Mapping[str, str] | None = None,
    directory: Path | None = None,
) -> str:
    """Run a program to its end, and return its output; `limit` is in seconds, `text` its input.

    Raises ProgramFailed with the line that says most: the first that begins with E:, as apt's
    errors do, or the last.
    """
    return _run(arguments, limit, text, environment or {}, directory).output.decode(
        errors="replace"
    )


def complaints(
    arguments: Sequence[str], text: str, environment: Mapping[str, str], directory: Path
) -> list[str]:
    """Run a program whose exit status tells nothing, and return the lines of its errors.

    Raises ProgramFailed.
    """
    ended = _run(arguments, 300, text, environment, directory)
    return ended.errors.decode(errors="replace").splitlines()


def _run(
    arguments: Sequence[str],
    limit: float,
    text: str,
    environment: Mapping[str, str],
    directory: Path | None,
) -> programs.EndedProgram:
    name = Path(arguments[0]).name
    try:
        ended = programs.run(
            arguments,
            limit_s=limit,
            text=text.encode(errors="surrogateescape"),
            environment={"LC_ALL": "C.UTF-8", **environment},
            directory=directory,
        )
    except programs.TookTooLong:
        raise ProgramFailed(f"{name} did not end within {limit:.0f} s") from None
    except programs.SaidTooMuch as error:
        raise ProgramFailed(f"{name} {error}") from None
    except OSError as error:
        raise ProgramFailed(f"cannot run {arguments[0]}: {error.strerror}") from error
    if ended.status:
        raise ProgramFailed(f"{name} ended with {ended.status}: {_cause(ended.errors)}")
    return ended


def _cause(said: bytes) -> str:
    lines = (line.strip() for line in said.decode(errors="replace").splitlines())
    return next((line for line in lines if line.startswith("E:")), programs.last_line(said))
