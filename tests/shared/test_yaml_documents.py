"""YAML: what stays what it looks like, and what is refused, in a line that says where."""

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from rhubarbe.shared.yaml_documents import MOST_VALUES, NotYaml, parse_yaml


@pytest.mark.parametrize(
    "text",
    [
        "on", "off", "yes", "No", "y", "True", "FALSE",  # 1.1 has them for truth
        "010", "0o17", "0x1f", "1_000", "+7", "-0", "00",  # other numbers, or none
        "192.168.3.1", "10.0.0", "1.10", "1e3", "1.5e3", ".5", "5.", ".inf", ".nan", "1e999",
        "52:54:00:12:34:56", "02:00:00:00:03:07", "1:30", "190:20:30",  # base 60
        "2026-11-29", "2026-11-29 10:00:00", "12345678901234567890", "9" * 5000,
        "=", "a b", "a#b", "C:\\x", "/dev/sd*", "size>=100G,rotational=no", "nodes-1", "é",
    ],
)  # fmt: skip
def test_plain_text_stays_the_text_that_it_is(text):
    assert parse_yaml(f"key: {text}\n") == {"key": text}
    assert parse_yaml(f"- {text}\n") == [text]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0), ("7", 7), ("-3", -3), ("1.5", 1.5), ("true", True), ("false", False),
        ("", None), ("~", None), ("null", None), ("'7'", "7"), ('"true"', "true"), ("''", ""),
        ("!!str 7", "7"), ("!!int 7", 7), ("!!str", ""), ("|\n  a\n  b\n", "a\nb\n"),
    ],
)  # fmt: skip
def test_what_can_be_nothing_else_is_a_value(text, value):
    assert parse_yaml(f"key: {text}") == {"key": value}
    assert type(parse_yaml(f"key: {text}")["key"]) is type(value)


@given(
    st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text("0123456789.e+-_x:")
)
def test_no_letter_of_what_is_plain_is_lost(value):
    text = str(value)
    if text.strip("-:. ") and not text.endswith(":") and not text.startswith(("- ", "---", "...")):
        (read,) = parse_yaml(f"- {text}\n")
        assert str(read) == text


def test_keys_are_text_whatever_they_look_like():
    assert parse_yaml("on: 1\n7: 2\nnull: 3\n'': 4\n010: 5") == {
        "on": 1, "7": 2, "null": 3, "": 4, "010": 5,
    }  # fmt: skip


def test_json_is_yaml_too():
    assert parse_yaml('[{"a": [1, "x", null, true]}]') == [{"a": [1, "x", None, True]}]


@pytest.mark.parametrize("text", ["", "\n", "# nothing\n", "---\n"])
def test_a_file_without_a_value_has_none(text):
    assert parse_yaml(text) is None


def test_lines_may_end_as_in_windows():
    assert parse_yaml("nodes:\r\n- a: 1\r\n  b: x\r\n") == {"nodes": [{"a": 1, "b": "x"}]}


def test_tags_of_secrets_are_the_texts_that_mean_the_same():
    read = parse_yaml(
        "a: !env PDU_PASSWORD\nb: !file '/etc/a b'\n"
        "c: !command [pass, show, 'a b']\nd: !command pass x"
    )
    assert read == {
        "a": "!env PDU_PASSWORD",
        "b": "!file /etc/a b",
        "c": "!command pass show 'a b'",
        "d": "!command pass x",
    }


def test_aliases_and_merged_keys_are_what_they_stand_for():
    text = """
x: &x {ip: 10.0.0.1, mac: aa}
y: &y {ip: 10.0.0.2, name: why}
a: *x
b: {<<: *x, ip: 10.0.0.9}
c: {mac: own, <<: [*x, *y]}
"""
    read = parse_yaml(text)
    assert read["a"] == read["x"]
    assert read["b"] == {"ip": "10.0.0.9", "mac": "aa"}
    assert read["c"] == {"ip": "10.0.0.1", "mac": "own", "name": "why"}  # the first that has it
    text = text[: text.index("\nc: ")]
    assert parse_yaml(text) == yaml.safe_load(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: 1\nb: 2\na: 3\n", "line 3: key 'a' for the second time"),
        ("{a: 1, 'a': 2}", "line 1: key 'a' for the second time"),
        ("a:\n\t- b\n", "line 2: a tab, where YAML wants blanks"),
        ("- a\n-\tb\n", "line 2: a tab, where YAML wants blanks"),
        ("a: [1,\n", "line 2: "),
        ("a: b: c\n", "line 1: "),
        ("a: 1\n---\nb: 2\n", "line 2: a second document begins: only one is read"),
        ("a: &a [1, *a]\n", "line 1: an alias, and nothing before it"),
        ("a: *b\nb: &b 1\n", "line 1: an alias, and nothing before it"),
        ("a: !!python/object/apply:os.system [ls]\n", "line 1: a tag that means nothing here"),
        ("a: 1\nb: !vault x\n", "line 2: a tag that means nothing here; !command, !env, !file do"),
        ("a: !!binary aGk=\n", "line 1: a tag that"),
        ("a: !!set {x}\n", "line 1: a tag that"),
        ("a: !env\n", "line 1: !env of nothing"),
        ("a: !command []\n", "line 1: !command: expected the words of a command"),
        ("a: !env [x]\n", "line 1: tag !env"),
        ("? [a]\n: 1\n", "line 1: a key that is no text"),
        ("a: {<<: 7}\n", "line 1: << merges an object"),
        ("a: \x07\n", "control characters are not allowed"),
        ("a: @x\n", "line 1: "),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_its_line(text, words):
    with pytest.raises(NotYaml, match=rf"\A{words}[^\n]*\Z" if "line" in words else words):
        parse_yaml(text)


ALIASES = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 9)
)
CHAIN = "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}]\n" for i in range(1, 30))
MERGES = "a0: &a0 {x: 1}\n" + "".join(
    f"a{i}: &a{i} {{<<: [{','.join([f'*a{i - 1}'] * 60)}]}}\n" for i in range(1, 9)
)


@pytest.mark.parametrize(
    "text",
    [
        ALIASES,
        CHAIN,
        MERGES,
        "[" * 500_000,
        "- " * 50_000 + "x",
        "{a: " * 5000,
        "- x\n" * (MOST_VALUES + 1),
    ],
    ids=["aliases", "chain", "merges", "lists", "dashes", "objects", "many"],
)
def test_what_is_more_than_a_site_has_is_refused(text):  # it would take all of the memory
    with pytest.raises(NotYaml, match=r"nested more than|more than 100000 values|nesting depth"):
        parse_yaml(text)


def test_it_is_the_same_without_the_parser_in_c(monkeypatch):
    monkeypatch.delattr(yaml, "CSafeLoader")
    assert parse_yaml("a: &a {on: 010}\nb: !env X\nc: *a\n") == {
        "a": {"on": "010"}, "b": "!env X", "c": {"on": "010"},
    }  # fmt: skip
    with pytest.raises(NotYaml, match="line 2: a tab"):
        parse_yaml("a:\n\t- b\n")


@pytest.mark.parametrize("loader", ["CSafeLoader", "SafeLoader"])
@pytest.mark.parametrize(
    "text",
    [
        "!s3cr3t\n",
        "!!s3cr3t\n",
        "!s3cr3t!x y\n",
        "*s3cr3t\n",
        "@s3cr3t\n",
        "%s3cr3t\n",
        "`s3cr3t`\n",
        "[s3cr3t\n",
        "{s3cr3t: [\n",
        "'s3cr3t\n",
        "s3cr3t: 's3cr3t' s3cr3t\n",
        "a: b: s3cr3t\n",
        "- s3cr3t\ns3cr3t\n",
        "&s3cr3t\n&s3cr3t\n",
        "\ts3cr3t\n",
        "root:$6$s3cr3t\ns3cr3t: [\n",
    ],
)
def test_what_cannot_be_read_is_not_quoted(text, loader, monkeypatch):
    """It may be a secret, where the file is a link."""
    if loader == "SafeLoader":
        monkeypatch.delattr(yaml, "CSafeLoader", raising=False)
    with pytest.raises(NotYaml, match=r"\Aline \d: ") as caught:
        parse_yaml(text)
    assert "s3cr3t" not in str(caught.value)
