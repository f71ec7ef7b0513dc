"""Secrets: where they are kept, how they are checked, and that nobody is shown them."""

import asyncio
import json
import os
from pathlib import Path

import pytest

from rhubarbe.config import revealing
from rhubarbe.config.secrets import EXPECTED, NO_SECRET, Secret, read_secret
from rhubarbe.config.values import SECRET
from rhubarbe.errors import GatewayError
from rhubarbe.node.tries import happens

PASSWORD = "Tr0ub4dor &3"


@pytest.fixture
def kept(tmp_path):
    """Keep something in a file of a mode, and return how a secret in it is written."""

    def keep(content=f"{PASSWORD}\n", mode=0o600):
        path = tmp_path / "password"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        path.chmod(mode)
        return f"!file {path}"

    return keep


@pytest.fixture
def program(tmp_path):
    """Write a program of the shell, and return its path."""

    def write(script):
        path = tmp_path / "keyring"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        return path

    return write


async def refusal(said):
    """Return the one line by which a secret is refused; nothing of it is in that."""
    with pytest.raises(GatewayError) as caught:
        await Secret(said).reveal()
    line = str(caught.value)
    assert line.isprintable()
    assert PASSWORD not in line
    return line


@pytest.mark.parametrize("said", ["s3cr3t", " with blanks ", "!bang", "#1", "", "§", "!File /x"])
async def test_plain_text_is_the_secret(said):
    assert await Secret(said).reveal() == said


async def test_plain_text_that_looks_like_something_else_is_said_so():
    assert await Secret("!text !file /etc/passwd").reveal() == "!file /etc/passwd"


@pytest.mark.parametrize(
    "said",
    [
        *("!file", "!file ", "!file password", "!fil /etc/password", "!env", "!env A=b"),
        *("!command", "!command pass 'show", "!keyring x", '!command ""', "!file ~nobody-at-all/x"),
        *("two\nlines", "!text a\rb", "bell\a", "nul\0", "half \ud800 a letter", "!env A\x7f"),
    ],
)
def test_a_slip_is_refused_and_not_quoted(said):
    with pytest.raises(ValueError) as caught:
        SECRET.read(said)
    assert all(word in EXPECTED for word in str(caught.value).split())


def test_nobody_is_shown_it():
    for said in (PASSWORD, f"!text {PASSWORD}", f"!command login --password '{PASSWORD}'"):
        secret = Secret(said)
        for shown in (str(secret), repr(secret), f"{secret}", f"{[secret]}", f"{secret!s:>40}"):
            assert PASSWORD not in shown
            assert shown
        with pytest.raises(TypeError):
            json.dumps(secret)
    assert str(Secret("!file /etc/rhubarbe/pdu")) == "!file /etc/rhubarbe/pdu"


def test_there_may_be_none():
    assert not NO_SECRET
    assert not NO_SECRET.is_plain
    assert Secret("x").is_plain
    assert not Secret("!env X").is_plain


def test_two_that_are_written_alike_are_the_same():
    one = read_secret("!command pass show pdu")
    assert read_secret("!command pass show pdu") is one
    assert Secret("!command pass show pdu") == one
    assert len({one, Secret("!command pass show pdu"), Secret("!env pdu")}) == 2


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o640, 0o440])
async def test_a_file_that_its_owner_and_group_may_read(kept, mode):
    assert await Secret(kept(mode=mode)).reveal() == PASSWORD


@pytest.mark.parametrize("content", [PASSWORD, f"{PASSWORD}\r\n", f"\ufeff{PASSWORD}\n\n"])
async def test_the_end_of_the_line_is_no_part_of_it(kept, content):
    assert await Secret(kept(content)).reveal() == PASSWORD


@pytest.mark.parametrize(
    ("mode", "repair"), [(0o644, "chmod o-r"), (0o604, "chmod o-r"), (0o606, "chmod o-w")]
)
async def test_a_file_that_anybody_could_read_or_write_is_refused(kept, mode, repair):
    said = kept(mode=mode)
    assert f"do: {repair} {said.removeprefix('!file ')}" in await refusal(said)


@pytest.mark.usefixtures("in_a_group_of_many")
async def test_a_file_that_its_group_could_write_is_refused(kept):
    assert "do: chmod g-w" in await refusal(kept(mode=0o660))


@pytest.mark.usefixtures("in_a_group_of_ours")
async def test_a_group_that_only_we_are_in_may_write_it(kept):
    assert await Secret(kept(mode=0o660)).reveal() == PASSWORD


@pytest.mark.skipif(os.getuid() != 0, reason="gives a file away")
async def test_a_file_of_a_stranger_s_is_refused(kept, monkeypatch):
    said = kept()
    os.chown(said.removeprefix("!file "), 4001, -1)
    assert "neither you nor root" in await refusal(said)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "is empty"),
        (" \n", "is empty"),
        ("ada\nTr0ub4dor &3\n", "has several lines"),
        (f"{PASSWORD}\x1b[2J", "cannot be typed"),
        (f"{PASSWORD}\0", "cannot be typed"),
        (PASSWORD.encode() + b"\xff", "is no text in UTF-8"),
        (b"x" * (revealing.LARGEST + 1), "is larger than 65536 bytes"),
    ],
)
async def test_what_is_no_line_of_text_is_refused(kept, content, words):
    assert words in await refusal(kept(content))


async def test_what_is_no_file_is_refused(tmp_path):
    assert "no such file" in await refusal(f"!file {tmp_path / 'away'}")
    os.mkfifo(tmp_path / "pipe", 0o600)
    assert "is no file" in await refusal(f"!file {tmp_path / 'pipe'}")
    assert "is no file" in await refusal(f"!file {tmp_path}")


async def test_a_file_may_be_reached_by_a_link_of_ours(kept, tmp_path):
    (tmp_path / "link").symlink_to(kept().removeprefix("!file "))
    assert await Secret(f"!file {tmp_path / 'link'}").reveal() == PASSWORD


async def test_a_home_is_found(kept, tmp_path, monkeypatch):
    kept()
    monkeypatch.setenv("HOME", str(tmp_path))
    assert await Secret("!file ~/password").reveal() == PASSWORD


async def test_a_variable(monkeypatch):
    monkeypatch.setenv("PDU_PASSWORD", PASSWORD)
    assert await Secret("!env PDU_PASSWORD").reveal() == PASSWORD
    monkeypatch.setenv("PDU_PASSWORD", "")
    assert await refusal("!env PDU_PASSWORD") == "no secret: $PDU_PASSWORD is not set"


@pytest.mark.parametrize("value", [b"caf\xe9", b"two\nlines", b"\x1b[31mred", b"tab\tbed"])
async def test_a_variable_that_nobody_can_be_told_is_refused(monkeypatch, value):
    monkeypatch.setitem(os.environb, b"PDU_PASSWORD", value)
    refused = await refusal("!env PDU_PASSWORD")
    assert refused == "no secret: $PDU_PASSWORD: has letters that cannot be typed"


async def test_what_a_command_prints_first(program):
    keyring = program('echo "$1"; echo "user: ada"; echo noise >&2')
    assert await Secret(f"!command {keyring} '{PASSWORD}'").reveal() == PASSWORD


async def test_a_command_is_no_shell(program):
    keyring = program('echo "$*"')
    assert await Secret(f"!command {keyring} $HOME;id").reveal() == "$HOME;id"


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (f"echo '{PASSWORD}'; echo '{PASSWORD}' >&2; exit 3", "ended with status 3"),
        (f"echo '{PASSWORD}' >&2", "is empty"),
        (f"echo '{PASSWORD}'; kill -9 $$", "ended with status -9"),
        (f"echo '{PASSWORD}'; exec yes", "writes more than 65536 bytes"),
    ],
)
async def test_a_command_that_fails_is_told_without_its_words(program, script, words):
    keyring = program(script)
    line = await refusal(f"!command {keyring} --token={PASSWORD.replace(' ', '')}")
    assert line.startswith(f"no secret: {keyring}: ")
    assert words in line
    assert "--token" not in line


async def test_a_command_that_there_is_not(tmp_path):
    assert "cannot be run: No such file" in await refusal(f"!command {tmp_path}/away")
    assert "cannot be run: Permission denied" in await refusal(f"!command {tmp_path}")


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def gone(path):
    """Tell whether the processes whose numbers are in a file soon end."""

    async def is_done():
        return not any(map(is_running, path.read_text().split()))

    return await happens(is_done, 10, 0.01)


async def test_a_command_that_does_not_end_is_ended_with_its_children(
    program, tmp_path, monkeypatch
):
    monkeypatch.setattr(revealing, "COMMAND_WITHIN_S", 0.5)
    keyring = program(f"sleep 600 & echo $! $$ > {tmp_path}/pids; wait")
    assert "did not end in 0.5 s, and was ended" in await refusal(f"!command {keyring}")
    assert await gone(tmp_path / "pids")


async def test_a_command_ends_with_who_asked(program, tmp_path):
    keyring = program(
        f"sleep 600 & echo $! $$ > {tmp_path}/draft; mv {tmp_path}/draft {tmp_path}/pids; wait"
    )
    secret = Secret(f"!command {keyring}")

    async def is_there():
        return (tmp_path / "pids").exists()

    async with asyncio.TaskGroup() as group:
        asking = group.create_task(secret.reveal())
        assert await happens(is_there, 10, 0.01)
        asking.cancel()
    assert await gone(tmp_path / "pids")
    program(f"echo '{PASSWORD}'")
    assert await secret.reveal() == PASSWORD  # which was never answered


async def test_a_keyring_is_asked_once_for_all_who_want_it(program, tmp_path):
    keyring = program(f"echo asked >> {tmp_path}/asked; echo '{PASSWORD}'")
    secret = read_secret(f"!command {keyring}")
    assert set(await asyncio.gather(*(secret.reveal() for _ in range(20)))) == {PASSWORD}
    assert (tmp_path / "asked").read_text() == "asked\n"


async def test_a_keyring_that_failed_is_not_asked_again(program, tmp_path):
    secret = Secret(f"!command {program(f'echo asked >> {tmp_path}/asked; exit 1')}")
    found = await asyncio.gather(*(secret.reveal() for _ in range(5)), return_exceptions=True)
    assert {str(error) for error in found} == {
        f"no secret: {tmp_path}/keyring: ended with status 1"
    }
    assert (tmp_path / "asked").read_text() == "asked\n"
