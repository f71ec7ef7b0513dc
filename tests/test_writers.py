"""Whom the mode of a file lets write it: its group is nobody else, where that is the user's own."""

import errno
import os
import struct
import subprocess

import pytest

from rhubarbe import writers
from rhubarbe.shared.directory import Directory
from rhubarbe.shared.own import find_file

ME, GID = os.getuid(), os.getegid()
USER = f"me:x:{ME}:{GID}:Me, myself:/home/me:/bin/sh"
ROOT = "root:x:0:0:root:/root:/bin/bash"
BOB = "bob:x:4002:4002::/home/bob:/bin/sh"


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "file"
    path.touch()
    return path


def may_others_write(path, owners=()):
    descriptor = os.open(path, os.O_PATH)
    try:
        return writers.may_others_write(descriptor, owners)
    finally:
        os.close(descriptor)


def test_what_only_the_owner_can_write_needs_no_group_to_be_known(file, accounts):
    getent = accounts([], [])
    getent.write_text("#!/bin/sh\ntouch asked\n")
    for umask in (0o022, 0o077, 0o027):
        file.chmod(0o666 & ~umask)
        assert not may_others_write(file)
    assert not (getent.parent / "asked").exists()


@pytest.mark.usefixtures("in_a_group_of_ours")
@pytest.mark.parametrize("mode", [0o602, 0o666, 0o646, 0o662])
def test_what_everybody_can_write_others_can(file, mode):
    file.chmod(mode)
    assert may_others_write(file)


@pytest.mark.parametrize(
    ("users", "groups"),
    [
        ([USER], [f"me:x:{GID}:"]),
        ([USER], [f"me:x:{GID}:me"]),
        ([USER, BOB], [f"me:x:{GID}:", "bob:x:4002:", "staff:x:4050:me,bob"]),
        ([USER, BOB, f"alias:x:{ME}:{GID}::/:/bin/sh"], [f"me:x:{GID}:alias"]),
        ([USER, ROOT], [f"me:x:{GID}:root"]),
        ([USER], [f"me:x:{GID}:", f"ours:x:{GID}:me"]),
    ],
)
def test_a_group_of_one_s_own_is_nobody_else(file, accounts, users, groups):
    accounts(users, groups)
    file.chmod(0o664)
    assert not may_others_write(file)


@pytest.mark.parametrize(
    ("users", "groups", "unlisted"),
    [
        pytest.param([USER, BOB], [f"me:x:{GID}:bob"], [], id="another member"),
        pytest.param([USER, BOB], [f"me:x:{GID}:me,bob"], [], id="another member beside us"),
        pytest.param([USER, f"bob:x:4002:{GID}::/:/bin/sh"], [f"me:x:{GID}:"], [], id="own of two"),
        pytest.param([USER, BOB], [f"me:x:{GID}:", f"ours:x:{GID}:bob"], [], id="a second name"),
        pytest.param([USER, BOB], [f"me:x:{GID}:"], [f"me:x:{GID}:bob"], id="unlisted group"),
        pytest.param([USER], [f"me:x:{GID}:ann"], [], id="a member that is not listed"),
        pytest.param([USER], [f"users:x:{GID}:"], [], id="not called as its user"),
        pytest.param([USER], [f"users:x:{GID}:me"], [], id="of one member, not called as that"),
        pytest.param([BOB], [f"me:x:{GID}:"], [], id="its user is not listed"),
        pytest.param([BOB], [f"me:x:{GID}:me"], [], id="its only member is not listed"),
        pytest.param([BOB], [f"bob:x:{GID}:"], [], id="a program's, as it has no users"),
        pytest.param([f"bob:x:4002:{GID}::/:/bin/sh"], [f"bob:x:{GID}:"], [], id="another's own"),
        pytest.param([USER], [], [], id="no such group"),
        pytest.param([USER, "+::::::"], [f"me:x:{GID}:"], [], id="makes no sense"),
        pytest.param([USER, "x"], [f"me:x:{GID}:"], [], id="is cut short"),
    ],
)
def test_a_group_with_others_or_perhaps_with_others_is_others(
    file, accounts, users, groups, unlisted
):
    accounts(users, groups, unlisted)
    file.chmod(0o664)
    assert may_others_write(file)
    file.chmod(0o644)
    assert not may_others_write(file)


def test_another_owner_is_no_other_where_that_is_said(file, accounts):
    accounts([f"bob:x:4002:{GID}::/:/bin/sh"], [f"bob:x:{GID}:"])
    file.chmod(0o664)
    assert may_others_write(file)
    assert not may_others_write(file, [4002])
    assert may_others_write(file, [4003])


@pytest.mark.parametrize("script", ["exit 1", "sleep 60", "kill -9 $$", None])
def test_where_nobody_can_be_asked_the_group_is_others(file, accounts, script, monkeypatch):
    monkeypatch.setattr(writers, "_ANSWERS_WITHIN_S", 0.2)
    getent = accounts([USER], [f"me:x:{GID}:"])
    getent.write_text(f"#!/bin/sh\n{script}\n")
    if script is None:
        getent.unlink()
        monkeypatch.setenv("PATH", str(getent.parent))
    file.chmod(0o664)
    assert may_others_write(file)


def test_a_group_is_asked_for_once(file, accounts):
    getent = accounts([USER], [f"me:x:{GID}:"])
    file.chmod(0o664)
    assert not may_others_write(file)
    getent.unlink()
    assert not may_others_write(file)


def add_to_list(path, uid):
    """Let a user write a file by an access control list, as `setfacl -m u:UID:rw` does."""
    nobody = 0xFFFFFFFF
    entries = [
        (0x01, 6, nobody), (0x02, 6, uid), (0x04, 4, nobody), (0x10, 6, nobody), (0x20, 4, nobody),
    ]  # fmt: skip
    value = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)
    try:
        os.setxattr(path, "system.posix_acl_access", value)
    except OSError as error:
        if error.errno != errno.ENOTSUP:
            raise
        pytest.skip("this file system has no access control lists")


@pytest.mark.usefixtures("in_a_group_of_ours")
def test_who_is_in_an_access_control_list_can_write(file):
    file.chmod(0o664)
    assert not may_others_write(file)
    add_to_list(file, 4002)
    assert file.stat().st_mode & 0o777 == 0o664  # as without the list
    assert may_others_write(file)
    subprocess.run(["chmod", "g-w", str(file)], check=True)  # as messages say
    assert not may_others_write(file)


@pytest.mark.usefixtures("in_a_group_of_ours")
def test_links_and_names_in_a_directory_of_the_group_s_are_our_own(tmp_path):
    tmp_path.chmod(0o775)
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("file")
    os.link(tmp_path / "file", tmp_path / "second")
    found = find_file(tmp_path / "link")
    assert found is not None
    with found[0] as directory:
        directory.require_trust()
        os.close(directory.open_file("second", many_names=True))


@pytest.mark.usefixtures("in_a_group_of_ours")
def test_a_name_is_looked_at_without_being_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "pipe").chmod(0o660)
    with Directory.open(tmp_path) as directory:
        assert not directory.may_others_write("pipe", ME)
        (tmp_path / "pipe").chmod(0o666)
        assert directory.may_others_write("pipe", ME)
