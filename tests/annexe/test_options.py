"""Options as GNU getopt reads them: held against the system's own getopt."""

import shlex
import shutil
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rhubarbe.annexe.options import BadOption, Given, Reader, RefusedOption, Wording, whole_number

WORDS = Wording(
    unknown="-{name} unknown",
    unknown_long="--{name} unknown in {word}",
    lacks="-{name} lacks",
    lacks_long="--{name} lacks",
    flag_with_value="--{name} is a flag",
    ambiguous="--{name} means several",
)
NAMES = {"all": False, "level": True, "limit": True, "list": False}
READER = Reader({"a": False, "n": True, "v": False}, NAMES, WORDS, {"e": "obsolete", "a": "no"})


def read(line):
    return READER.read(shlex.split(line))


@pytest.mark.parametrize(
    ("line", "options", "arguments"),
    [
        ("", [], []),
        ("x -a y", [("a", "")], ["x", "y"]),
        ("-avn3 -n 4", [("a", ""), ("v", ""), ("n", "3"), ("n", "4")], []),
        ("-n -1 -- -a --all", [("n", "-1")], ["-a", "--all"]),
        ("- --level 3 --level=4", [("level", "3"), ("level", "4")], ["-"]),
        ("--al --lev=3 --lis", [("all", ""), ("level", "3"), ("list", "")], []),
        ("-n ''", [("n", "")], []),
    ],
)
def test_options_and_arguments_in_any_order(line, options, arguments):
    assert read(line) == (options, arguments)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("-ax", "-x unknown"),
        ("--none=3", "--none unknown in none=3"),
        ("-a -n", "-n lacks"),
        ("--level", "--level lacks"),
        ("--all=3", "--all is a flag"),
        ("--l 3", "--l means several"),
        ("--{name}", "--{name} unknown in {name}"),
    ],
)
def test_what_is_wrong_is_said_in_the_words_of_the_program(line, said):
    with pytest.raises(BadOption) as caught:
        read(line)
    assert str(caught.value) == said


def test_what_is_refused_says_why():
    with pytest.raises(RefusedOption, match="option -e: obsolete"):
        read("-ve")


TYPED = [
    *("-a", "-v", "-av", "-n", "-n7", "-an", "--all", "--level", "--level=7", "--lev", "--lis"),
    *("--al=1", "--", "-", "x", "-7", "--x", "7"),
]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(TYPED), max_size=6))
def test_all_is_read_as_the_system_s_getopt_does(words):
    program = shutil.which("getopt")
    if program is None:
        pytest.skip("getopt is not installed")
    command = [program, "-o", "an:v", "-l", "all,level:,limit:,list", "--", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        options, arguments = READER.read(words)
    except BadOption:
        assert done.returncode != 0
        return
    assert done.returncode == 0, done.stderr
    told = []
    for name, value in options:
        told.append(f"-{name}" if len(name) == 1 else f"--{name}")
        told += [value] if value else []
    assert shlex.split(done.stdout) == [*told, "--", *arguments]


def test_the_last_value_counts_and_all_are_there():
    given = Given([("n", "1"), ("v", ""), ("n", "2"), ("v", "")], ["x"])
    assert (given.text("n"), given.values["n"], given.text("m", "none")) == (
        "2",
        ["1", "2"],
        "none",
    )
    assert (given.has("v"), given.has("m"), given.count("v"), given.count("m")) == (
        True,
        False,
        2,
        0,
    )


def test_numbers_are_those_of_c():
    assert [whole_number(text) for text in ("7", "-1", "0x10", "7.", "")] == [7, -1, 16, None, None]
