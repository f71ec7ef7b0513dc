"""Print what makes a shell complete verbs, options, node words and names of images."""

import argparse
import importlib
import re
from typing import Any

from rhubarbe.cli.arguments import example, make_parser, read_inventory, read_settings
from rhubarbe.cli.dispatch import ANNEXES, VERBS
from rhubarbe.config import SECTIONS
from rhubarbe.repository import known_names
from rhubarbe.text import sanitise

EPILOG = example(
    'eval "$(rhubarbe-completion bash)"',
    "That line goes into ~/.bashrc, or with zsh into ~/.zshrc, after compinit.\n"
    "The completion itself asks for nodes and images.",
)

MAIN = "rhubarbe-main.py"
PREFIX = "rhubarbe-"

# By the name of an argument, the kind of its words.
KINDS = {
    "node": "nodes",
    "nodes": "nodes",
    "image": "images",
    "images": "images",
    "words": "images",
    "host": "hosts",
    "report": "files",
    "output": "files",
}

CHOICES = {"sections": list(SECTIONS), "verb": [*VERBS, *ANNEXES]}

PREAMBLES = {
    "bash": """\
_rhubarbe_nodes() {
  compgen -W "$(rhubarbe-completion nodes 2>/dev/null)" -- "$1"
}
_rhubarbe_images() {
  case $1 in
    */*) compgen -f -- "$1" ;;
    *) local IFS=$'\\n'; compgen -W "$(rhubarbe-completion images 2>/dev/null)" -- "$1" ;;
  esac
}
_rhubarbe_hosts() {
  compgen -A hostname -- "$1"
}
_rhubarbe_files() {
  compgen -f -- "$1"
}
""",
    "zsh": """\
_rhubarbe_nodes() {
  local -a found
  found=(${(f)"$(rhubarbe-completion nodes 2>/dev/null)"})
  compadd -a found
}
_rhubarbe_images() {
  local -a found
  found=(${(f)"$(rhubarbe-completion images 2>/dev/null)"})
  compadd -a found
  [[ $PREFIX == */* ]] && _files
}
_rhubarbe_hosts() {
  _hosts
}
_rhubarbe_files() {
  _files
}
""",
}

# `rhubarbe-load 1` is completed as `rhubarbe-main.py load 1` is, and so is `rhubarbe load 1`.
CLOSINGS = {
    "bash": """
_rhubarbe_verb() {
  local verb=${COMP_WORDS[0]##*/}
  COMP_WORDS=(rhubarbe-main.py "${verb#rhubarbe-}" "${COMP_WORDS[@]:1}")
  COMP_CWORD=$((COMP_CWORD + 1))
  _shtab_rhubarbe_main_py
}
_rhubarbe() {
  COMP_WORDS[0]=rhubarbe-main.py
  _shtab_rhubarbe_main_py
}
complete -o bashdefault -F _rhubarbe rhubarbe
complete -o bashdefault -F _rhubarbe_verb """,
    "zsh": """
_rhubarbe_verb() {
  words=(rhubarbe-main.py ${${words[1]:t}#rhubarbe-} "${(@)words[2,-1]}")
  (( CURRENT++ ))
  _shtab_rhubarbe_main_py
}
compdef _shtab_rhubarbe_main_py rhubarbe
compdef _rhubarbe_verb """,
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what completion takes."""
    parser.add_argument(
        "what",
        choices=["bash", "zsh", "nodes", "images"],
        help="the script for a shell, or the words that it offers",
    )


def run(arguments: argparse.Namespace) -> int:
    """Print the script or the words."""
    if arguments.what == "nodes":
        entries = list(read_inventory(read_settings()))
        words = [str(entry.number) for entry in entries] + [entry.name for entry in entries]
    elif arguments.what == "images":
        names = known_names(read_settings().frisbee.images_dir)
        words = [name for name in names if name == sanitise(name)]  # nobody can type the others
    else:
        words = [script(arguments.what)]
    print("\n".join(words))
    return 0


def script(shell: str) -> str:
    """Return the script for `bash` or `zsh`."""
    import shtab

    made: str = shtab.complete(_whole_parser(), shell, preamble=PREAMBLES[shell])
    if shell == "zsh":
        # The library lets words that may be repeated be completed once only.
        made = re.sub(r'"\(\*\)::?', '"*:', made)
    return made + CLOSINGS[shell] + " ".join(f"{PREFIX}{verb}" for verb in VERBS)


def _whole_parser() -> argparse.ArgumentParser:
    """Return a parser of all verbs, with each argument's kind of words."""
    whole = argparse.ArgumentParser(prog=MAIN)
    verbs = whole.add_subparsers(dest="verb")
    for verb, (module, words) in VERBS.items():
        parser = make_parser(PREFIX + verb, importlib.import_module(f"rhubarbe.cli.{module}"))
        for action in parser._actions:  # the library has no public way to list them
            if kind := KINDS.get(action.dest):
                _mark(action, kind)
            elif action.choices is None and action.dest in CHOICES:
                action.choices = CHOICES[action.dest]
        verbs.add_parser(verb, help=words, parents=[parser], add_help=False)
    for annexe, words in ANNEXES.items():
        verbs.add_parser(annexe, help=words, add_help=False)
    return whole


def _mark(action: Any, kind: str) -> None:
    """Tell the library which function finds the words."""
    if action.nargs != 0:
        action.complete = {"bash": f"_rhubarbe_{kind}", "zsh": f"_rhubarbe_{kind}"}
