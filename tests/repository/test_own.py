"""What an image holds that should be one machine's own, of trees as Debian and others have them."""

from pathlib import Path

import pytest

from rhubarbe.errors import ImageError
from rhubarbe.repository.own import own_things
from rhubarbe.repository.sectors import Deadline

ID = b"0123456789abcdef0123456789abcdef\n"
# What `debootstrap`, openssh-server and isc-dhcp-client leave on a machine that was used.
DEBIAN = {
    "etc/hostname": b"fit01\n",
    "etc/machine-id": ID,
    "var/lib/dbus/machine-id": Path("/etc/machine-id"),
    "etc/ssh/ssh_config": b"Host *\n",
    "etc/ssh/sshd_config.d/empty": b"",
    "etc/ssh/ssh_host_ecdsa_key": b"PRIVATE",
    "etc/ssh/ssh_host_ecdsa_key.pub": b"public",
    "etc/ssh/ssh_host_ed25519_key": b"PRIVATE",
    "etc/ssh/ssh_host_ed25519_key.pub": b"public",
    "etc/ssh/ssh_host_rsa_key": b"PRIVATE",
    "etc/ssh/ssh_host_rsa_key.pub": b"public",
    "var/lib/dhcp/dhclient.leases": b"",
    "var/lib/dhcp/dhclient.eth0.leases": b"lease {\n}\n",
    "var/lib/systemd/random-seed": b"r" * 32,
}
CLEAN = {
    "etc/hostname": b"fit01\n",
    "etc/machine-id": b"uninitialized\n",
    "etc/ssh/ssh_host_rsa_key.pub": b"public",
    "etc/ssh/ssh_host_rsa_key": b"",
    "var/lib/dbus/machine-id": Path("/etc/machine-id"),
    "var/lib/dhcp/dhclient.leases": b"",
    "var/lib/NetworkManager/NetworkManager.state": b"[main]\n",
}


def told(image, deadline=None):
    return own_things(image, deadline or Deadline())


@pytest.mark.parametrize("label", ["mbr", "gpt"])
def test_a_used_debian_is_told_in_full(make_filesystem, make_disk, image_of, label):
    disk = make_disk([None, make_filesystem(DEBIAN)], label=label)
    assert told(image_of(disk, "-f")) == [
        "machine-id",
        "3 ssh host keys",
        "a DHCP lease",
        "a random seed",
    ]


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({}, []),
        ({"etc/machine-id": b""}, []),
        ({"etc/machine-id": b"\n"}, []),
        ({"etc/machine-id": ID}, ["machine-id"]),
        ({"var/lib/dbus/machine-id": ID}, ["machine-id"]),
        ({"etc/dropbear/dropbear_rsa_host_key": b"key"}, ["an ssh host key"]),
        (
            {
                "etc/dropbear/initramfs/dropbear_ecdsa_host_key": b"key",
                "etc/ssh/ssh_host_ed25519_key": b"key",
            },
            ["2 ssh host keys"],
        ),
        ({"var/lib/NetworkManager/internal-0f-eth0.lease": b"ADDRESS=10.0.0.1"}, ["a DHCP lease"]),
        (
            {"var/lib/dhclient/dhclient.leases": b"l", "var/lib/dhcpcd/eth0.lease6": b"l"},
            ["2 DHCP leases"],
        ),
        ({"etc/dhcpcd.duid": b"00:01:00:01"}, ["a DHCP identifier"]),
        ({"var/lib/urandom/random-seed": b"r"}, ["a random seed"]),
        ({"var/lib/systemd/credential.secret": b"s"}, ["a credential secret"]),
    ],
)
def test_each_thing_is_told(make_filesystem, image_of, files, words):
    image = image_of(make_filesystem(CLEAN | files, "-t", "ext2", size=2), "-r")
    assert told(image) == words


def test_var_may_have_a_filesystem_of_its_own(make_filesystem, make_disk, image_of):
    root = make_filesystem({path: text for path, text in DEBIAN.items() if "var/" not in path})
    var = make_filesystem(
        {path.removeprefix("var/"): text for path, text in DEBIAN.items() if "var/" in path},
        name="var",
    )
    assert told(image_of(make_disk([root, var]), "-r")) == [
        "machine-id",
        "3 ssh host keys",
        "a DHCP lease",
        "a random seed",
    ]


def test_what_cannot_be_looked_at_is_no_clean_image(make_filesystem, make_disk, image_of, tmp_path):
    data = make_filesystem({"a/file": b"data"})
    for disk in (make_disk([None], name="blank"), make_disk([data], name="data")):
        with pytest.raises(ImageError, match="no root on an ext2, ext3 or ext4 filesystem"):
            told(image_of(disk, "-r"))
    for content in (b"", b"not an image" * 100_000):
        (tmp_path / "other.ndz").write_bytes(content)
        with pytest.raises(ImageError):
            told(tmp_path / "other.ndz")
    with pytest.raises(ImageError):
        told(tmp_path / "missing.ndz")
    deadline = Deadline()
    deadline.end()
    with pytest.raises(ImageError, match="takes too long"):
        told(image_of(make_disk([data]), "-r"), deadline)
