"""A site that runs rhubarbe 9.5 does the main job with its files as they are, from a shell.

On real daemons, at the ports that 9.5 knows, with its files where it has them: in a mount
namespace, which alone sees another /etc and /var/lib.
"""

import json
import os
import shutil
from pathlib import Path

import pytest
from emulated import BIN, PrivateTestbed, differing_blocks, start_testbed
from test_hosts import LACKING

DATA = Path(__file__).parents[1] / "data" / "9.5"
pytestmark = [
    pytest.mark.full,
    pytest.mark.testbed,
    pytest.mark.timeout(180),
    pytest.mark.skipif(os.getuid() != 0, reason="needs root to make network namespaces"),
    pytest.mark.skipif(bool(LACKING), reason=f"needs {', '.join(LACKING)}"),
]

GATEWAY = """\
set -eu
unset RHUBARBE_CONF
mount --make-rprivate /
mount --bind etc /etc
mount --bind var-lib /var/lib
cd home
"""
LOAD_AND_WAIT = """\
rhubarbe load -i sample 1-2
rhubarbe wait 1-2
"""
SAVE_AND_LOAD = """\
rhubarbe save 1 -o mywork -c "of 9.5"
rhubarbe lo -i mywork 2
rhubarbe wait -s 2
"""


def nodes_in_yaml(inventory):
    """Write nodes as sites do: blocks, without quotes."""
    lines = ["nodes:"]
    for entry in json.loads(inventory):
        lines.append("-")
        for part, values in entry.items():
            lines += [f"  {part}:", *(f"    {key}: {value}" for key, value in values.items())]
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Two hosts, and beside the testbed's own files a gateway's as 9.5 has them."""
    testbed = start_testbed(
        tmp_path_factory.mktemp("from9"), "--hosts", "2", "--boot-time", "0.3", kind=PrivateTestbed
    )
    place = testbed.directory
    shutil.copytree("/etc", place / "etc", symlinks=True, ignore_dangling_symlinks=True)
    etc, home = place / "etc" / "rhubarbe", place / "home"
    for directory in (etc, home / ".ssh", place / "bin", place / "var-lib" / "rhubarbe"):
        directory.mkdir(parents=True, exist_ok=True)
    (place / "var-lib" / "rhubarbe").chmod(0o1777)
    (place / "images").rename(place / "var-lib" / "rhubarbe-images")
    (place / "images").symlink_to("var-lib/rhubarbe-images")
    shutil.copy(place / "id_ed25519", home / ".ssh")
    (place / "bin" / "frisbeed").symlink_to(BIN / "rhubarbe-frisbeed")
    ours = (place / "rhubarbe.conf").read_text()
    partition = ours.partition("root_partition = ")[2].splitlines()[0]
    conf = (DATA / "rhubarbe.conf.local").read_text()
    for mark, value in (
        ("@TFTP@", str(place / "pxelinux.cfg")),
        ("@DISK@", "dev/sda"),  # of a host, below its own directory
        ("@PARTITION@", partition),
    ):
        conf = conf.replace(mark, value)
    (etc / "rhubarbe.conf.local").write_text(conf)
    (etc / "inventory-nodes.yaml").write_text(nodes_in_yaml((place / "inventory.json").read_text()))
    shutil.copy(DATA / "inventory-pdus.yaml", etc)
    yield testbed
    testbed.end()
    shutil.rmtree(place, ignore_errors=True)


def in_a_shell(site, script):
    return site.run(
        *("unshare", "--mount", "sh", "-c", GATEWAY + script),
        PATH=f"{site.directory}/bin:{BIN}:{os.environ['PATH']}",
        HOME=str(site.directory / "home"),
        within=120,
    )


def test_its_files_do_the_main_job(site):
    loaded = in_a_shell(site, LOAD_AND_WAIT)
    assert loaded.returncode == 0, loaded.stdout + loaded.stderr
    assert "good: 1-2" in loaded.stdout
    for node in ("fit01", "fit02"):
        assert differing_blocks(site.disk(node), site.source) == []
    (told,) = loaded.stderr.splitlines()  # once, by the first command
    assert "[frisbee] netcat_style (a save runs no netcat on the gateway)" in told

    saved = in_a_shell(site, SAVE_AND_LOAD)
    assert saved.returncode == 0, saved.stdout + saved.stderr
    assert b"node fit01 - image mywork" in site.disk("fit02").read_bytes()
    assert site.links() == []


def test_its_files_are_checked_and_told(site):
    done = in_a_shell(
        site,
        "rhubarbe inventory --check; rhubarbe nodes -a; rhubarbe config testbed",
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "/etc/rhubarbe/inventory-nodes.yaml: no fault"
    assert lines[1] == "fit01 fit02"
    assert any(
        line.startswith("inventory_path = /etc/rhubarbe/inventory-nodes.yaml")
        and line.endswith("# /etc/rhubarbe/rhubarbe.conf.local (inventory_nodes_path)")
        for line in lines
    )
