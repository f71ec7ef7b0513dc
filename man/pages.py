"""Make the manual pages: of a verb from its parser, of any other program from its --help.

`python man/pages.py DIRECTORY` writes one page a command of bin/; setup.py does so at build time.
"""

import datetime
import importlib
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PREFIX = "rhubarbe-"
# Another name of `rhubarbe`, whose page it is, too.
MAIN = "rhubarbe-main.py"
ALL = "rhubarbe"
HEAD = '.TH {title} "1" "{date}" "rhubarbe {version}" "rhubarbe"'


def write_pages(directory: Path) -> list[Path]:
    """Write the page of each command into a directory; return the files."""
    directory.mkdir(parents=True, exist_ok=True)
    written = []
    for path in [ROOT / "bin" / ALL, *sorted((ROOT / "bin").glob(f"{PREFIX}*"))]:
        if path.name != MAIN:
            page = directory / f"{path.name}.1"
            is_verb = path.is_symlink() and path.name != ALL
            page.write_text(_verb(path.name) if is_verb else _program(path))
            written.append(page)
    return written


def _verb(command: str) -> str:
    from argparse_manpage.manpage import Manpage

    from rhubarbe.cli.arguments import make_parser, version
    from rhubarbe.cli.dispatch import VERBS

    name, words = VERBS[command.removeprefix(PREFIX)]
    parser = make_parser(command, importlib.import_module(f"rhubarbe.cli.{name}"))
    parser.man_short_description = words
    data = {"project_name": "rhubarbe", "version": version(), "manual_title": "rhubarbe"}
    page = Manpage(parser, _data=data)
    page.date = _date()
    return str(page).replace(".SH COMMENTS", ".SH NOTES").rstrip() + "\n"


def _program(path: Path) -> str:
    """Return the page of a program that has no parser of that kind: its help as it is."""
    told = subprocess.run(
        [sys.executable, path, "--help"],
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "80"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout
    lines = told.strip().splitlines()
    # The synopsis is the first line, and those that go on with it, which are indented.
    end = next((at for at, line in enumerate(lines) if at and line[:1] != " "), len(lines))
    usage, rest = "\n".join(lines[:end]), "\n".join(lines[end:]).strip("\n")
    words = path.read_text().split('"""')[1].rstrip(".")
    version = (ROOT / "rhubarbe" / "VERSION").read_text().strip()
    return "\n".join(
        [
            HEAD.format(title=_plain(path.name.upper()), date=_plain(_date()), version=version),
            ".SH NAME",
            f"{_plain(path.name)} - {_plain(words[0].lower() + words[1:])}",
            *(".SH SYNOPSIS", ".nf", _plain(usage.removeprefix("usage: ")), ".fi"),
            *(".SH DESCRIPTION", ".nf", _plain(rest), ".fi", ""),
        ]
    )


def _date() -> str:
    """Return the day of the build, or the one that makes it reproducible."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    day = datetime.datetime.now(datetime.UTC)
    if epoch:
        day = datetime.datetime.fromtimestamp(int(epoch), datetime.UTC)
    return f"{day:%Y-%m-%d}"


def _plain(text: str) -> str:
    """Let roff take text for text."""
    lines = text.replace("\\", "\\e").replace("-", "\\-").splitlines()
    return "\n".join("\\&" + line if line[:1] in (".", "'") else line for line in lines)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    for page in write_pages(Path(sys.argv[1])):
        sys.stdout.write(f"{page}\n")
