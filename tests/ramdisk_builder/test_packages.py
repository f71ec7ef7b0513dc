import os

import pytest

from rhubarbe.ramdisk_builder.errors import PackageError
from rhubarbe.ramdisk_builder.packages import Packages

# They write what they are asked into a log, and read what they answer from files beside it.
APT_GET = """\
#!/bin/sh
cd_was=$PWD; cd "$(dirname "$0")"
while [ "$1" = -o ]; do shift 2; done
echo "apt-get $*" >> log
if [ -e broken ]; then
    echo "W: a warning" >&2
    cat broken >&2
    [ "$1" != update ] || rm broken
    exit 100
fi
case "$1" in
    install) cat uris ;;
    download) shift 2; for each; do
        name=${each%%=*}
        touch "$cd_was/$(ls debs | grep "^${name}_")"
    done ;;
esac
"""
APT_CACHE = """\
#!/bin/sh
cat "$(dirname "$0")/shown"
"""
DPKG_DEB = """\
#!/bin/sh
echo "dpkg-deb $*" >> "$(dirname "$0")/log"
[ ! -e "$(dirname "$0")/full" ] || { echo "dpkg-deb: error: no space" >&2; exit 2; }
basename "$2" >> "$3/unpacked"
"""
URIS = """\
'http://mirror/tool_1%3a2.0-1_amd64.deb' tool_1%3a2.0-1_amd64.deb 1000 SHA256:aa
'http://mirror/libone1_1.0_amd64.deb' libone1_1.0_amd64.deb 1000 SHA256:bb
'http://mirror/debconf_1.5_all.deb' debconf_1.5_all.deb 1000 SHA256:cc
"""
SHOWN = """\
Package: tool
Section: admin

Package: libone1
Section: non-free/libs

Package: debconf
Section: admin
"""


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    directory = tmp_path / "programs"
    (directory / "debs").mkdir(parents=True)
    for name, text in (("apt-get", APT_GET), ("apt-cache", APT_CACHE), ("dpkg-deb", DPKG_DEB)):
        (directory / name).write_text(text)
        (directory / name).chmod(0o755)
    for name in ("tool_1%3a2.0-1", "libone1_1.0"):
        (directory / "debs" / f"{name}_amd64.deb").touch()
    (directory / "uris").write_text(URIS)
    (directory / "shown").write_text(SHOWN)
    (directory / "log").touch()
    monkeypatch.setenv("PATH", f"{directory}:{os.environ['PATH']}")
    return directory


@pytest.fixture
def packages(tmp_path):
    return Packages(tmp_path / "cache")


def test_a_package_comes_with_the_libraries_that_it_needs_only(mirror, packages):
    root = packages.unpack(["tool"])
    unpacked = (root / "unpacked").read_text().split()
    assert unpacked == ["libone1_1.0_amd64.deb", "tool_1%3a2.0-1_amd64.deb"]
    assert "apt-get download -qq libone1=1.0 tool=1:2.0-1" in (mirror / "log").read_text()


def test_what_was_unpacked_before_costs_nothing(mirror, packages, tmp_path):
    root = packages.unpack(["tool"])
    (mirror / "log").write_text("")
    assert Packages(tmp_path / "cache").unpack(["tool"]) == root
    assert (mirror / "log").read_text() == ""


def test_what_apt_cannot_do_is_tried_again_after_an_update(mirror, packages):
    """The lists of this machine may be missing, or older than what the mirror has."""
    (mirror / "broken").write_text("E: Unable to locate package tool\n")
    with pytest.raises(PackageError):  # the update fails too, this time
        packages.unpack(["tool"])
    asked = [line.split()[1] for line in (mirror / "log").read_text().splitlines()]
    assert asked == ["install", "update"]
    assert packages.unpack(["tool"]).is_dir()


def test_the_word_of_apt_is_passed_on_in_one_line(mirror, packages):
    (mirror / "broken").write_text("E: Unable to locate package tool\nE: and more\n")
    with pytest.raises(PackageError) as caught:
        packages.unpack(["tool"])
    told = str(caught.value)
    assert told == (
        "Debian packages cannot be had: apt-get ended with 100: E: Unable to locate package tool"
    )


def test_what_is_cut_short_is_not_taken_for_unpacked(mirror, packages, tmp_path):
    (mirror / "full").touch()
    with pytest.raises(PackageError, match="no space"):
        packages.unpack(["tool"])
    assert list((tmp_path / "cache" / "roots").iterdir()) == []
    (mirror / "full").unlink()
    assert (packages.unpack(["tool"]) / "unpacked").exists()


def test_a_cache_that_cannot_be_written_is_told(tmp_path, mirror):
    (tmp_path / "file").touch()
    with pytest.raises(PackageError, match="the cache of packages cannot be used"):
        Packages(tmp_path / "file" / "cache").unpack(["tool"])
