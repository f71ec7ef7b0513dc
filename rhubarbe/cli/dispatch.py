"""Which verb is asked for: the name of the command says it, `rhubarbe-load`, or its first argument.

As that, the beginning of a verb's name will do, if no other verb's begins so; the annexes want
their whole names. Only the verb that is asked for is imported, and none of them imports what
`--help` does not need.
"""

import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from rhubarbe.cli.arguments import make_parser
from rhubarbe.errors import RhubarbeError, shortage
from rhubarbe.gateway.checks.limits import TO_START, require_addresses
from rhubarbe.start import UNWRITABLE, lost_complaints, write_no_more

# Each verb with the module of this room that knows it, and what the list of verbs says of it.
VERBS = {
    "load": ("load", "put an image on nodes"),
    "save": ("save", "save the disk of a node into an image"),
    "wait": ("wait", "wait until nodes accept ssh, or run an image"),
    "status": ("power", "tell which nodes are on"),
    "on": ("power", "switch nodes on"),
    "off": ("power", "switch nodes off"),
    "reset": ("power", "reset nodes that are on"),
    "info": ("power", "print what power cards tell about themselves"),
    "usrpstatus": ("power", "tell which USRPs are on"),
    "usrpon": ("power", "switch USRPs on"),
    "usrpoff": ("power", "switch USRPs off"),
    "bothoff": ("power", "switch nodes and their USRPs off"),
    "bye": ("power", "switch nodes and their USRPs off, at the end of the day"),
    "pdu": ("pdu", "list, ask and switch devices that are plugged into PDUs"),
    "rescue": ("rescue", "boot nodes into the ramdisk, to stay there"),
    "nodes": ("nodes", "print the names of nodes"),
    "inventory": ("inventory", "print the inventory"),
    "config": ("config", "print the configuration, and where each value comes from"),
    "images": ("images", "list the images"),
    "list": ("images", "list the images, too"),
    "resolve": ("resolve", "print the file that is meant by the name of an image"),
    "share": ("share", "move an image into the repository"),
    "sync": ("sync", "copy images from or to another gateway"),
    "completion": ("completion", "print what makes bash or zsh complete all this"),
    "leases": ("leases", "list who has the testbed, and when"),
    "book": ("book", "book the testbed, or give a lease back"),
    "doctor": ("doctor", "examine this gateway, and say what repairs it"),
    "setup": ("setup", "make a Debian machine a gateway"),
    "history": ("history", "which nodes fail, and how long each phase takes"),
    "template": ("template", "print a configuration, or what there is, to start from"),
    "help": ("help", "list the verbs, or tell all about one"),
    "version": ("version", "print which version this is"),
}
# The annexes, each a program of its own beside this one.
ANNEXES = {
    "imagezip": "read a disk into an image",
    "imageunzip": "write an image onto a disk",
    "imagedump": "tell what is in an image",
    "frisbeed": "serve an image",
    "frisbee": "receive an image onto a disk",
    "mfrisbeed": "tell clients where an image is served, and serve it",
    "testbed": "run an emulated testbed",
    "ramdisk": "make what nodes boot from the network",
}
PREFIX = "rhubarbe-"
# By these names the verb is the first argument.
MAINS = ("rhubarbe", f"{PREFIX}main.py", "__main__.py")
USAGE_ERROR = 2
# How many verbs to offer for a word that is none, and how alike they must be.
NEAR, NEARNESS = 3, 0.7
# What an import may raise where this machine has run out of something: even SyntaxError, for half
# a file that is read as if it were all.
_NO_MEANS = (MemoryError, ImportError, OSError, RuntimeError, SyntaxError)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the verb that `argv` (with the program's name first) asks for; return the exit code."""
    program, *words = sys.argv if argv is None else argv
    name = Path(program).name
    try:
        try:
            return _main(name, words) or lost_complaints()
        finally:  # also after --help, which exits
            if sys.stdout is not None:  # closed by whoever started us
                sys.stdout.flush()
    except BrokenPipeError:
        write_no_more()  # whoever read our output has had enough
        return 1
    except KeyboardInterrupt:  # while the verb's output was being written
        return _interrupted(name)
    except OSError as error:
        if error.filename is not None or error.errno not in UNWRITABLE:
            raise
        write_no_more()
        _complain(f"{name}: the output cannot be written: {error.strerror}")
        return 1


def _interrupted(name: str) -> int:
    write_no_more()  # we may have been waiting for whoever reads our output
    _complain(f"{name}: interrupted")
    write_no_more(2)
    return 1


def _complain(text: str) -> None:
    """Say it on standard error, which is not waited for: a terminal may be stopped."""
    try:
        from rhubarbe.displays.outlet import say  # most commands have nothing to complain of
    except _NO_MEANS:  # a shortage may also be what we complain of
        os.write(2, f"{text}\n".encode(errors="replace"))
    else:
        say(sys.stderr, text)


def _main(name: str, words: list[str]) -> int:
    verb = name.removeprefix(PREFIX)
    if verb in VERBS:
        return _run(verb, words)
    if name not in MAINS:
        return _refuse(name, verb)
    if not words:
        print(overview(), f"{name}: no verb was given", sep="\n", file=sys.stderr)
        return USAGE_ERROR
    if words[0] in ("-h", "--help"):
        print(overview())
        return 0
    if words[0] == "--version":
        return _run("version", [])
    return start(name, words)


def start(name: str, words: Sequence[str]) -> int:
    """Run the verb, or the annexe, that the first word names or begins to name."""
    asked, *rest = words
    meant = meant_by(asked)
    if len(meant) != 1:
        return _refuse(name, asked)
    if asked in ANNEXES:
        _run_annexe(name, asked, rest)
    return _run(meant[0], rest)


def meant_by(asked: str) -> list[str]:
    """Return the verbs, or the annexe, that a word may stand for."""
    if asked in VERBS or asked in ANNEXES:
        return [asked]
    return [verb for verb in VERBS if asked and verb.startswith(asked)]


def _refuse(name: str, asked: str) -> int:
    """Say in one line which word is no verb, and which verbs it is near."""
    from rhubarbe.cli.former import LEFT_OUT_VERBS
    from rhubarbe.text import sanitise

    if asked in LEFT_OUT_VERBS:
        _complain(f"{sanitise(name)}: {asked} is left out: {LEFT_OUT_VERBS[asked]}")
        return USAGE_ERROR
    several = meant_by(asked)
    if several and name in MAINS:
        words = f"may be {', '.join(several[:-1])} or {several[-1]}"
    else:
        near = f"; did you mean {' or '.join(found)}?" if (found := _near(asked)) else ""
        words = f"is no verb{near or '; rhubarbe help lists them'}"
    _complain(f"{sanitise(name)}: {sanitise(repr(asked))} {words}")
    return USAGE_ERROR


def _near(asked: str) -> list[str]:
    import difflib  # most commands are none

    known = [*VERBS, *ANNEXES]
    word = asked.lower().lstrip("-").removeprefix(PREFIX)
    longer = [verb for verb in known if word and verb.startswith(word)]
    return longer[:NEAR] or difflib.get_close_matches(word, known, NEAR, NEARNESS)


def _run_annexe(name: str, annexe: str, words: list[str]) -> NoReturn:
    """Become the program of an annexe, which is beside this one, or where the shell finds it."""
    import shutil

    beside = Path(sys.argv[0]).resolve().parent / f"{PREFIX}{annexe}"
    program = beside if os.access(beside, os.X_OK) else shutil.which(beside.name)
    if program is None:
        _complain(f"{name}: {beside.name}: no such program beside {name}, nor in $PATH")
        sys.exit(1)
    sys.stdout.flush()
    os.execv(program, [str(program), *words])  # noqa: S606 - no shell


def _run(verb: str, words: list[str]) -> int:
    try:
        require_addresses(TO_START)
        module = importlib.import_module(f"rhubarbe.cli.{VERBS[verb][0]}")
        parser = make_parser(PREFIX + verb, module)
        # What follows `--` are names, whatever they begin with: only the plain way heeds that.
        parse = parser.parse_args if "--" in words else parser.parse_intermixed_args
        arguments = parse(words)
        code: int = module.run(arguments)
    except RhubarbeError as error:
        from rhubarbe.text import sanitise  # names of files and words of others may be in it

        _complain(f"{PREFIX}{verb}: {sanitise(str(error))}")
        return error.exit_code
    except KeyboardInterrupt:
        return _interrupted(PREFIX + verb)
    except (MemoryError, OSError, RuntimeError, ImportError, ExceptionGroup) as error:
        if (lack := shortage(error)) is None:
            raise
        _complain(f"{PREFIX}{verb}: this machine cannot do more: {lack}")
        return 1
    return code


def overview() -> str:
    """Return what there is, a line each."""
    annexes = [f"  {annexe:<12}{words}" for annexe, words in ANNEXES.items()]
    return "\n".join(
        [
            "usage: rhubarbe VERB ..., or rhubarbe-VERB ...; rhubarbe help VERB tells all of one",
            "",
            *(f"  {verb:<12}{words}" for verb, (_, words) in VERBS.items()),
            "",
            "A verb may be cut short, if no other begins so. The engine, and what goes with it:",
            *annexes,
            "",
            "example:",
            "  rhubarbe load -i fedora 1-12",
        ]
    )
