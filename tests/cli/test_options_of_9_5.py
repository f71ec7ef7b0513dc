"""What ten years of fingers know: command lines of rhubarbe 9.5, and a page that tells of each."""

import importlib
import re
from pathlib import Path

import pytest

from rhubarbe.cli.arguments import make_parser
from rhubarbe.cli.dispatch import VERBS, main
from rhubarbe.cli.former import LEFT_OUT_VERBS

ROOT = Path(__file__).parents[2]
DATA = ROOT / "tests" / "data" / "9.5"
PAGE = (ROOT / "docs" / "FROM-9.5.md").read_text()
LINES = [
    [*line.split("\t"), ""][:4]
    for line in (DATA / "options.tsv").read_text().splitlines()
    if line[0] != "#"
]
KEYS = [line.split("\t") for line in (DATA / "keys.tsv").read_text().splitlines() if line[0] != "#"]
VERBS_OF_9_5 = (DATA / "verbs").read_text().split()


def parsed(verb, words):
    module = importlib.import_module(f"rhubarbe.cli.{VERBS[verb][0]}")
    arguments = make_parser(f"rhubarbe-{verb}", module).parse_args(words.split())
    return {
        name: ",".join(value) if isinstance(value, list) else str(value)
        for name, value in vars(arguments).items()
    }


@pytest.mark.parametrize(
    ("verb", "words", "becomes", "means"), LINES, ids=[" ".join(line[:2]) for line in LINES]
)
def test_a_command_line_of_9_5_means_what_the_table_says(verb, words, becomes, means, capsys):
    if becomes == "out":
        with pytest.raises(SystemExit) as caught:
            assert main(["rhubarbe", verb, *words.split()]) is None
        assert caught.value.code == 2
        assert capsys.readouterr().err
    else:
        wanted = dict(word.split("=", 1) for word in means.split())
        made = parsed(verb, words)
        assert {name: made.get(name) for name in wanted} == wanted


def rows(heading):
    """Return the rows of the page's table of this heading, by their first cells."""
    section = PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    cells = [line.strip("|").split(" | ") for line in section.splitlines() if line[:2] == "| "]
    return {
        name: " | ".join(rest) for first, *rest in cells for name in re.findall(r"`([^`]+)`", first)
    }


def test_the_page_tells_of_each_verb():
    told = rows("Verbs")
    assert set(VERBS_OF_9_5) <= set(told)
    for verb in VERBS_OF_9_5:
        is_out = verb in LEFT_OUT_VERBS
        assert told[verb].strip().startswith("left out") == is_out, verb
        assert (verb in VERBS) != is_out, verb


def test_the_page_tells_of_each_option():
    told = rows("Options")
    for verb, words, becomes, _ in LINES:
        for option in re.findall(r"(?<!\S)(-\w)(?!\S)", words):
            words_of_page = told.get(f"{verb} {option}") or told.get(option) or ""
            first = {"same": "same", "other": "other", "out": "left out"}[becomes]
            assert words_of_page.strip().startswith(first), f"{verb} {option}"


def test_the_page_tells_of_each_key():
    told = rows("Keys of the configuration")
    for key, _, becomes in KEYS:
        words = (told.get(key) or told[f"{key.partition('.')[0]}.*"]).strip()
        if becomes.startswith("is "):
            assert words.startswith("other")
            assert becomes.removeprefix("is ") in words
        else:
            assert words.startswith({"same": "same", "root": "same", "out": "left out"}[becomes]), (
                key
            )


@pytest.mark.parametrize("verb", LEFT_OUT_VERBS)
def test_a_verb_that_is_left_out_is_told_with_what_there_is_instead(verb, capsys):
    assert main(["rhubarbe", verb, "-c", "2"]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err == f"rhubarbe: {verb} is left out: {LEFT_OUT_VERBS[verb]}\n"
