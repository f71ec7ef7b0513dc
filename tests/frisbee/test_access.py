"""Rules on who may have which image."""

import os

import pytest

from rhubarbe.annexe.errors import NotOurs
from rhubarbe.frisbee.access import EVERYTHING, Access, parse_access, read_access
from rhubarbe.frisbee.errors import UsageError

RULES = """
# a pattern of names, then who
debian*     10.0.0.0/24 192.168.3.4   # two of them
secret.ndz
*.ndz       all
"""


@pytest.mark.parametrize(
    ("host", "image", "allowed"),
    [
        ("10.0.0.77", "debian.ndz", True),
        ("192.168.3.4", "debian-12.ndz", True),
        ("192.168.3.5", "debian.ndz", False),
        ("10.0.0.77", "secret.ndz", False),
        ("10.9.9.9", "fedora.ndz", True),
        ("10.9.9.9", "Debian.ndz", True),
    ],
)
def test_the_first_rule_that_fits_decides(host, image, allowed):
    assert parse_access(RULES, "rules").allows(host, image) is allowed


def test_without_a_rule_nobody_may():
    access = parse_access("debian 10.0.0.1", "rules")
    assert access.allows("10.0.0.1", "debian.ndz")
    assert not access.allows("10.0.0.1", "fedora.ndz")
    assert access.knows("10.0.0.1")
    assert not access.knows("10.0.0.2")
    assert not parse_access("", "rules").knows("10.0.0.1")
    assert Access([EVERYTHING]).allows("1.2.3.4", "any.ndz")


@pytest.mark.parametrize("who", ["10.0.0.256", "10.0.0.1/24", "fit03", "10.0.0.1,10.0.0.2"])
def test_what_is_no_address_is_named_with_its_line(who):
    with pytest.raises(UsageError, match=r"^rules:2: .*10\.0|^rules:2: .*fit03"):
        parse_access(f"\n* {who}\n", "rules")


def test_rules_that_others_can_write_are_refused(tmp_path):
    path = tmp_path / "rules"
    path.write_text("* all\n")
    path.chmod(0o644)
    assert read_access(str(path)).allows("1.2.3.4", "any.ndz")
    path.chmod(0o646)
    with pytest.raises(NotOurs, match="others can write it; as root: chown root"):
        read_access(str(path))
    if os.getuid() == 0:
        path.chmod(0o644)
        os.chown(path, 12345, -1)
        with pytest.raises(NotOurs):
            read_access(str(path))


def test_what_is_no_file_of_rules_is_refused_at_once(tmp_path):
    pipe, long = tmp_path / "pipe", tmp_path / "long"
    os.mkfifo(pipe, 0o600)
    with pytest.raises(UsageError, match="pipe: is no file"):
        read_access(str(pipe))
    long.write_text("* 10.0.0.12" + "\n" * (1 << 20))
    long.chmod(0o600)
    with pytest.raises(UsageError, match="long: has more than 1048576 characters"):
        read_access(str(long))
