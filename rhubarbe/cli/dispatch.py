"""Which verb is asked for: the name of the command says it, `rhubarbe-load`, or its first argument.

Only the verb that is asked for is imported, and none of them imports what `--help` does not need.
"""

import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from rhubarbe.cli.arguments import make_parser
from rhubarbe.errors import RhubarbeError, shortage
from rhubarbe.gateway.checks.limits import TO_START, require_addresses
from rhubarbe.start import UNWRITABLE, lost_complaints, write_no_more
from rhubarbe.version import version

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
    "history": ("history", "which nodes fail, and how long each phase takes"),
}
PREFIX = "rhubarbe-"
MAIN = f"{PREFIX}main.py"
USAGE_ERROR = 2
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
    if words and words[0] in VERBS:
        return _run(words[0], words[1:])
    if words and words[0] == "--version":
        print(f"rhubarbe {version()}")
        return 0
    asked_for_help = bool(words) and words[0] in ("-h", "--help")
    if asked_for_help:
        print(_overview())
        return 0
    print(_overview(), _unknown(name, words), sep="\n", file=sys.stderr)
    return USAGE_ERROR


def _unknown(name: str, words: list[str]) -> str:
    """Say which word was taken for the verb, and is none."""
    from rhubarbe.text import sanitise

    asked = words[0] if words and name in (MAIN, "__main__.py") else name.removeprefix(PREFIX)
    if name == MAIN and not words:
        return f"{MAIN}: no verb was given"
    return f"{sanitise(name)}: {sanitise(repr(asked))} is no verb"


def _run(verb: str, words: list[str]) -> int:
    try:
        require_addresses(TO_START)
        module = importlib.import_module(f"rhubarbe.cli.{VERBS[verb][0]}")
        arguments = make_parser(PREFIX + verb, module).parse_args(words)
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


def _overview() -> str:
    lines = [f"  {PREFIX}{verb:<12}{words}" for verb, (_, words) in VERBS.items()]
    return "\n".join(
        [
            "usage: rhubarbe-VERB ..., or rhubarbe-main.py VERB ...; each verb has --help",
            *lines,
        ]
    )
