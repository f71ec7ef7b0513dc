"""What a site has already is found, honoured and never written over; what is not known is asked."""

import ipaddress
import json
import os
import re
import shutil
import subprocess

import pytest

from rhubarbe.errors import GatewayError
from rhubarbe.setup.network import Attached
from rhubarbe.setup.site import likely

needs_root = pytest.mark.skipif(os.getuid() != 0, reason="needs root to give files to a group")
SNIPPET = "etc/dnsmasq.d/rhubarbe.conf"


def attached(name, address, *, is_way_out=False):
    return Attached(name, ipaddress.IPv4Interface(address), is_way_out)


OUT = attached("eth0", "10.0.0.2/24", is_way_out=True)
IN = attached("eth1", "192.168.3.100/24")
OTHER = attached("eth2", "192.168.4.1/24")


@pytest.mark.parametrize(
    ("there", "nodes", "name"),
    [
        ([OUT], [], "eth0"),
        ([OUT, IN], [], "eth1"),
        ([OUT, IN, OTHER], ["192.168.4.7"], "eth2"),
        ([OUT, IN], ["10.0.0.7", "10.0.0.8"], "eth0"),
    ],
)
def test_the_interface_of_the_nodes(there, nodes, name):
    assert likely(there, [ipaddress.IPv4Address(node) for node in nodes]).name == name


@pytest.mark.parametrize(
    ("there", "nodes"),
    [([], []), ([OUT, IN, OTHER], []), ([OUT, IN, OTHER], ["192.168.3.7", "192.168.4.7"])],
)
def test_which_interface_it_is_is_asked_where_several_could_be(there, nodes):
    with pytest.raises(GatewayError, match="say --interface NAME") as caught:
        likely(there, [ipaddress.IPv4Address(node) for node in nodes])
    assert all(str(each) in str(caught.value) for each in there)


def snippet(root, *words):
    """Set it up; return our part of dnsmasq's configuration, and what was said."""
    code, said = root.setup(*words)
    assert code == 0, said
    code, again = root.setup(*words)
    assert again.splitlines()[-1] == "nothing to do: all is done"
    path = root / SNIPPET
    return (path.read_text() if path.exists() else ""), said


def taken_by_dnsmasq(root):
    """Have the real one read all that there is, as Debian has it do."""
    dnsmasq = shutil.which("dnsmasq", path=f"{os.environ['PATH']}:/usr/sbin")
    if dnsmasq is None:
        pytest.skip("needs dnsmasq")
    conf = root / "etc/dnsmasq.conf"
    words = ["--test", "-C", conf if conf.exists() else "/dev/null", "-7", root / "etc/dnsmasq.d"]
    done = subprocess.run([dnsmasq, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@needs_root
@pytest.mark.parametrize(
    "site",
    [
        {},
        {"etc/dnsmasq.conf": "# all comments\nconf-dir=/etc/dnsmasq.d/,*.conf\n"},
        {"etc/dnsmasq.d/README": "# All files in this directory\n"},
    ],
)
@pytest.mark.parametrize("dhcp", ["serve", "proxy", "none"])
def test_a_dnsmasq_that_does_nothing_else_is_ours(root, site, dhcp):
    for name, text in site.items():
        root.write(name, text)
    text, _ = snippet(root, "--dhcp", dhcp)
    for line in ("port=0", "interface=eth1", "bind-dynamic", "tftp-root=/srv/tftp"):
        assert f"\n{line}\n" in text
    assert ("dhcp-authoritative" in text) == (dhcp == "serve")
    assert ("192.168.3.0,proxy" in text) == (dhcp == "proxy")
    assert ("dhcp-hostsfile" in text) == (dhcp != "none")
    root.write("etc/dnsmasq.conf", "")
    taken_by_dnsmasq(root)


@needs_root
@pytest.mark.parametrize(
    ("conf", "dropped", "has", "has_not"),
    [
        ("port=5353\nserver=9.9.9.9\n", "", ["dhcp-range=192.168.3.0,static"], ["port="]),
        ("interface=eth0\n", "", ["enable-tftp=eth1"], ["bind-dynamic", "log-facility"]),
        ("dhcp-range=192.168.3.50,192.168.3.90\n", "", ["dhcp-boot=tag:rhubarbe"], ["dhcp-range"]),
        (
            "",
            "dhcp-range=192.168.3.50,192.168.3.90",
            ["dhcp-boot=tag:rhub"],
            ["dhcp-range", "port"],
        ),
        ("enable-tftp\ntftp-root=/boot/tftp # ours\n", "", ["dhcp-range"], ["tftp-root"]),
    ],
)
def test_a_dnsmasq_of_the_site_is_only_added_to(root, conf, dropped, has, has_not):
    root.write("etc/dnsmasq.conf", conf)
    if dropped:
        root.write("etc/dnsmasq.d/site.conf", dropped)
    text, _ = snippet(root)
    lines = "\n" + text
    assert all(f"\n{line}" in lines for line in has), text
    assert not any(f"\n{line}" in lines for line in has_not), text
    assert not (root / "etc/logrotate.d/rhubarbe").exists()
    taken_by_dnsmasq(root)


@needs_root
@pytest.mark.parametrize(
    ("path", "letter"),
    [("/srv/my tftp", "a blank"), ("/srv/a,b", "','"), ("/srv/a\\b", r"'\\'"), ("/a#b", "'#'")],
)
def test_what_dnsmasq_would_misread_is_refused_before_anything_is_made(root, path, letter):
    before = root.everything()
    code, said = root.setup("--tftp-root", path)
    assert (code, root.everything()) == (1, before)
    assert said.startswith(f"rhubarbe-setup: {path}: dnsmasq's configuration cannot have {letter} ")
    assert said.count("\n") == 1


@needs_root
def test_what_is_but_odd_dnsmasq_takes(root):
    text, _ = snippet(root, "--tftp-root", "/srv/tftp-é+@=:;'~%(x)")
    assert "\ntftp-root=/srv/tftp-é+@=:;'~%(x)\n" in text
    root.write("etc/dnsmasq.conf", "")
    taken_by_dnsmasq(root)


@needs_root
def test_what_tftp_s_user_cannot_get_through_is_told(root):
    (root / "srv/tftp").mkdir(parents=True)
    (root / "srv/tftp").chmod(0o750)
    code, said = root.setup()
    assert code == 0
    assert "/srv/tftp: TFTP's user cannot get through it; do: chmod o+x /srv/tftp\n" in said


@needs_root
def test_what_dnsmasq_serves_by_tftp_already_is_where_files_go(root):
    root.write("etc/dnsmasq.conf", "enable-tftp\ntftp-root=/boot/tftp\n")
    snippet(root)
    assert (root / "boot/tftp/pxelinux.cfg/pxefrisbee").exists()
    conf = (root / "etc/rhubarbe/rhubarbe.conf").read_text()
    assert "\nconfig_dir = /boot/tftp/pxelinux.cfg\n" in conf
    assert "\nconfig_dir = /boot/tftp/grub\n" in conf
    code, said = root.setup("--tftp-root", "/srv/tftp")
    assert (code, said.splitlines()[-1]) == (
        1,
        "rhubarbe-setup: --tftp-root /srv/tftp: dnsmasq serves /boot/tftp",
    )


@needs_root
@pytest.mark.parametrize(
    ("package", "path", "text"),
    [
        ("isc-dhcp-server", "etc/dhcp/dhcpd.conf", "subnet 192.168.3.0 netmask 255.255.255.0 {}"),
        ("kea-dhcp4-server", "etc/kea/kea-dhcp4.conf", '{"Dhcp4": {"subnet4": [{"subnet": "x"}]}}'),
        ("udhcpd", "etc/udhcpd.conf", "start 192.168.3.20\n"),
    ],
)
def test_another_server_of_dhcp_stays_and_what_to_tell_it_is_said(root, package, path, text):
    root.have_packages(package, "dnsmasq", "pxelinux", "syslinux-common")
    root.write(path, text)
    text, said = snippet(root)
    assert not re.search("(?m)^dhcp|^log-dhcp", text)
    assert "tftp-root=/srv/tftp" in text
    assert f"{package} serves DHCP on this machine: it stays so" in said
    assert re.search(r'next-server 192\.168\.3\.100;\n.*00:07 .*filename "shimx64\.efi"', said)
    assert not (root / "etc/rhubarbe/dnsmasq.hosts").exists()


@needs_root
def test_a_server_of_dhcp_that_is_not_configured_is_none(root):
    root.have_packages("isc-dhcp-server", "dnsmasq", "pxelinux", "syslinux-common")
    root.write("etc/dhcp/dhcpd.conf", "# subnet 192.168.3.0 netmask 255.255.255.0 {}\n")
    text, _ = snippet(root)
    assert "dhcp-range=192.168.3.0,static" in text


@needs_root
@pytest.mark.parametrize(
    ("package", "text", "directory"),
    [
        ("tftpd-hpa", 'TFTP_DIRECTORY="/var/lib/tftpboot"\n', "/var/lib/tftpboot"),
        ("tftpd-hpa", "", "/srv/tftp"),
        ("atftpd", 'OPTIONS="--port 69 --maxthread 100 /boot/files"\n', "/boot/files"),
    ],
)
def test_another_server_of_tftp_stays_and_gets_the_files(root, package, text, directory):
    root.have_packages(package, "dnsmasq", "pxelinux", "syslinux-common")
    root.write(f"etc/default/{package}", text)
    text, _ = snippet(root)
    assert "tftp" not in text.replace("dhcp-", "")
    assert (root / directory.lstrip("/") / "pxelinux.0").exists()


@needs_root
def test_with_both_served_by_others_dnsmasq_is_not_even_installed(root):
    root.have_packages("tftpd-hpa", "isc-dhcp-server", "pxelinux", "syslinux-common")
    root.write("etc/default/tftpd-hpa", 'TFTP_DIRECTORY="/srv/tftp"\n')
    root.write("etc/dhcp/dhcpd.conf", "subnet 192.168.3.0 netmask 255.255.255.0 {}\n")
    text, said = snippet(root)
    assert (text, "packages dnsmasq" in said) == ("", False)


@needs_root
def test_a_tftpboot_that_is_in_use_stays_in_use(root):
    root.write("tftpboot/memtest", "")
    snippet(root)
    assert (root / "tftpboot/pxelinux.cfg/default").exists()
    assert not (root / "srv").exists()


@needs_root
def test_a_configuration_that_is_there_is_not_touched_and_is_gone_by(root):
    conf = (
        "[testbed]\nstate_dir = /var/state\ninventory_path = /etc/nodes.json\n"
        "[pxelinux]\nconfig_dir = /boot/pxe/pxelinux.cfg\nfrisbee_image = pxefrisbee\n"
        "[frisbee]\nimages_dir = /data/images\n"
    )
    root.write("etc/rhubarbe/rhubarbe.conf", conf)
    root.write_inventory(root / "etc/nodes.json", "192.168.3.7")
    code, said = root.setup("--tftp-root", "/boot/pxe")
    assert code == 0
    assert (root / "etc/rhubarbe/rhubarbe.conf").read_text() == conf
    for name in ("var/state", "data/images", "boot/pxe/pxelinux.cfg", "boot/pxe/grub"):
        assert (root / name).is_dir(), said
    assert not (root / "var/lib/rhubarbe").exists()
    assert "192.168.3.7,fit01" in (root / "etc/rhubarbe/dnsmasq.hosts").read_text()
    root.undo()
    assert (root / "etc/rhubarbe/rhubarbe.conf").read_text() == conf
    assert (root / "etc/nodes.json").exists()


@needs_root
def test_a_configuration_that_is_wrong_ends_it_before_anything_is_made(root):
    root.write("etc/rhubarbe/rhubarbe.conf", "[frisbee]\nimages = /data\n")
    before = root.everything()
    code, said = root.setup()
    assert (code, root.everything()) == (1, before)
    assert "unknown key 'images'" in said.splitlines()[-1]


@needs_root
def test_nodes_get_the_addresses_of_the_inventory_also_when_that_changes(root):
    mine = root.write_inventory(root.path.parent / "mine.json", "192.168.3.1", "192.168.3.2")
    snippet(root, "--inventory", str(mine))
    hosts = root / "etc/rhubarbe/dnsmasq.hosts"
    assert hosts.read_text().splitlines()[1:] == [
        "02:00:00:00:03:01,set:rhubarbe,192.168.3.1,fit01",
        "02:00:00:00:03:02,set:rhubarbe,192.168.3.2,fit02",
    ]
    conf = (root / "etc/rhubarbe/rhubarbe.conf").read_text()
    assert "\nall_scope = 1-2\n" in conf
    root.write_inventory(root / "etc/rhubarbe/inventory.json", "192.168.3.9")
    code, said = root.setup()
    assert code == 0
    assert hosts.read_text().splitlines()[1:] == [
        "02:00:00:00:03:01,set:rhubarbe,192.168.3.9,fit01"
    ]
    assert (root / "etc/rhubarbe/rhubarbe.conf").read_text() == conf
    code, said = root.setup("--inventory", str(mine))  # theirs is not written over
    assert code == 1
    assert "is another's, or changed by hand" in said.splitlines()[-1]


@needs_root
def test_an_inventory_that_is_none_is_refused_before_anything_is_made(root):
    (root.path.parent / "bad.json").write_text(json.dumps([{"control": {}}]))
    before = root.everything()
    code, _ = root.setup("--inventory", str(root.path.parent / "bad.json"))
    assert (code, root.everything()) == (1, before)


@needs_root
def test_the_two_nodes_to_start_from_are_in_the_network(root):
    snippet(root)
    nodes = json.loads((root / "etc/rhubarbe/inventory.json").read_text())
    network = ipaddress.IPv4Network("192.168.3.0/24")
    assert all(ipaddress.IPv4Address(node["control"]["ip"]) in network for node in nodes)


@needs_root
@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"etc/dnsmasq.conf": "enable-tftp\ntftp-root=/t\ntftp-secure\n"}, "tftp-secure"),
        ({"etc/dnsmasq.conf": "port=53\nno-dhcp-interface=eth1\n"}, "no-dhcp-interface=eth1"),
        ({"etc/default/dnsmasq": "#CONFIG_DIR=/etc/dnsmasq.d\n"}, "CONFIG_DIR"),
        ({"etc/dnsmasq.d/site.conf.bak": "cache-size=0\n"}, "looks like a copy"),
    ],
)
def test_what_is_known_to_be_in_the_way_is_said_with_the_cure(root, files, words):
    for name, text in files.items():
        root.write(name, text)
    code, said = root.setup("--dry-run")
    assert code == 0
    assert [line for line in said.splitlines() if line.startswith("note ") and words in line]


@needs_root
def test_a_node_that_dnsmasq_cannot_serve_is_named(root):
    mine = root.write_inventory(root.path.parent / "mine.json", "192.168.3.100", "10.0.0.7")
    code, said = root.setup("--inventory", str(mine), "--dry-run")
    assert code == 0
    assert "note   fit01: has the address of this gateway" in said
    assert "note   fit02: 10.0.0.7 is not in 192.168.3.0/24" in said


@needs_root
@pytest.mark.parametrize(
    "words",
    [
        ("--address", "192.168.3.100"),
        ("--address", "300.1.1.1/24"),
        ("--tftp-root", "srv/tftp"),
        ("--dhcp", "perhaps"),
        ("--root", "here"),
    ],
)
def test_a_command_line_that_is_wrong(root, words):
    with pytest.raises(SystemExit) as caught:
        root.setup(*words)
    assert caught.value.code == 2


def test_a_root_without_words_about_its_network_is_asked_for_them(root):
    code, said = root.setup(where=())
    assert code == 1
    assert said == (
        "rhubarbe-setup: with --root, say --interface and --address: they are another machine's\n"
    )


BMC = {"address": "192.168.1.7", "user": "operator", "password": "s3cr3t"}


def with_power(root, tmp_path, **said):
    """Write an inventory of a node that is switched so."""
    path = root.write_inventory(tmp_path / "nodes.json", "192.168.3.1")
    (node,) = json.loads(path.read_text())
    path.write_text(json.dumps([node | {"power": said}]))
    return path


@needs_root
def test_the_secrets_of_an_inventory_are_for_the_group_only(root, tmp_path):
    root.have_packages("dnsmasq", "pxelinux", "syslinux-common", "ipmitool")
    code, said = root.setup("--inventory", str(with_power(root, tmp_path, kind="ipmi", **BMC)))
    there = root / "etc/rhubarbe/inventory.json"
    assert (code, "s3cr3t" in said, "s3cr3t" in there.read_text()) == (0, False, True)
    assert there.stat().st_mode & 0o777 == 0o640
    assert there.stat().st_gid == int(root.groups()["rhubarbe"][0])


@needs_root
def test_what_switches_the_nodes_is_installed(root, tmp_path):
    path = with_power(root, tmp_path, kind="ipmi", **BMC)
    code, said = root.setup("--dry-run", "--inventory", str(path))
    assert code == 0
    assert re.search("(?m)^make +packages ipmitool .*missing: ipmitool", said)


@needs_root
def test_an_inventory_with_a_kind_that_there_is_not_is_refused(root, tmp_path):
    before = root.everything()
    path = with_power(root, tmp_path, kind="impi", **BMC)
    code, said = root.setup("--inventory", str(path))
    assert (code, root.everything()) == (1, before)
    assert said.startswith(f"rhubarbe-setup: --inventory {path}: fit01: power: there is no kind")
    assert said.count("\n") == 1
