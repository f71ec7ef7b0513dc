"""Kinds of netboots: which links each makes, towards what, and where it is told so."""

import shutil
import subprocess
from pathlib import Path

import pytest
from absent import entry

from rhubarbe.config import Settings
from rhubarbe.config.settings import (
    GrubSettings,
    IpxeSettings,
    NodesSettings,
    PxelinuxSettings,
)
from rhubarbe.errors import GatewayError
from rhubarbe.gateway.state.journal import Journal
from rhubarbe.inventory import Driver
from rhubarbe.node.kinds import driver_faults
from rhubarbe.node.next_boot import NextBoot
from rhubarbe.transports.netboot import KINDS, NETBOOTS, link_places, netboot_of

MAC = "02-00-00-00-00-01"
LINKS = {
    "pxelinux": [(f"pxelinux.cfg/01-{MAC}", "pxefrisbee")],
    "grub": [(f"grub/01-{MAC}", "pxefrisbee")],
    "both": [(f"pxelinux.cfg/01-{MAC}", "pxefrisbee"), (f"grub/01-{MAC}", "pxefrisbee")],
    "ipxe": [(f"ipxe/{MAC}.ipxe", "pxefrisbee.ipxe")],
}


@pytest.fixture
def settings(tmp_path):
    for directory, name in (("pxelinux.cfg", ""), ("grub", ""), ("ipxe", ".ipxe")):
        (tmp_path / directory).mkdir()
        (tmp_path / directory / f"pxefrisbee{name}").touch()
    return Settings(
        pxelinux=PxelinuxSettings(config_dir=tmp_path / "pxelinux.cfg"),
        grub=GrubSettings(config_dir=tmp_path / "grub"),
        ipxe=IpxeSettings(config_dir=tmp_path / "ipxe"),
    )


def next_boot_of(kind, settings):
    return NextBoot(netboot_of(entry(netboot=Driver(kind, {})), settings))


def links_below(directory):
    return {path for path in directory.rglob("*") if path.is_symlink()}


@pytest.mark.parametrize("kind", LINKS)
async def test_each_kind_has_its_links_for_as_long_as_they_are_needed(kind, settings, tmp_path):
    next_boot = next_boot_of(kind, settings)
    await next_boot.require_entries()
    async with next_boot.linked():
        assert links_below(tmp_path) == {tmp_path / path for path, _ in LINKS[kind]}
        for path, target in LINKS[kind]:
            assert (tmp_path / path).readlink() == Path(target)
    assert links_below(tmp_path) == set()


@pytest.mark.parametrize("kind", sorted(LINKS))
def test_the_configuration_says_which_kind_where_the_inventory_does_not(kind, settings, tmp_path):
    own = Settings(
        nodes=NodesSettings(netboot=kind),
        pxelinux=settings.pxelinux,
        grub=settings.grub,
        ipxe=settings.ipxe,
    )
    assert list(driver_faults([entry()], own)) == []
    assert [link.path for link in netboot_of(entry(), own).links] == [
        tmp_path / path for path, _ in LINKS[kind]
    ]


def test_a_kind_of_the_configuration_that_there_is_not_is_a_fault():
    (fault,) = driver_faults([entry()], Settings(nodes=NodesSettings(netboot="floppy")))
    assert fault == (
        "fit01: netboot: there is no kind 'floppy', but"
        f" {', '.join(sorted(KINDS))} (netboot in [nodes])"
    )


@pytest.mark.parametrize("missing", ["pxelinux.cfg", "grub"])
async def test_each_entry_of_both_must_be_there(missing, settings, tmp_path):
    (tmp_path / missing / "pxefrisbee").unlink()
    with pytest.raises(GatewayError, match=rf"{missing}/pxefrisbee: no such boot entry; see"):
        await next_boot_of("both", settings).require_entries()


@pytest.mark.parametrize("bad", ["pxelinux.cfg", "grub"])
async def test_where_one_link_cannot_be_made_none_stays(bad, settings, tmp_path):
    (tmp_path / bad / f"01-{MAC}").mkdir()
    with pytest.raises(GatewayError, match=f"{bad}/01-{MAC}: the nextboot link cannot be made"):
        async with next_boot_of("both", settings).linked():
            raise AssertionError("entered with half of the links")
    assert links_below(tmp_path) == set()


@pytest.mark.parametrize("kind", LINKS)
def test_a_file_of_the_operator_s_for_a_node_is_refused_beforehand(kind, settings, tmp_path):
    for path, _ in LINKS[kind]:
        (tmp_path / path).write_text("default memtest\n")
    for link in netboot_of(entry(netboot=Driver(kind, {})), settings).links:
        for act in (link.try_out, link.make, link.remove):
            with pytest.raises(OSError, match="is not a link that rhubarbe made: move it away"):
                act()
        assert link.path.read_text() == "default memtest\n"
    assert links_below(tmp_path) == set()


async def test_where_one_link_cannot_be_removed_the_others_go(settings, tmp_path):
    next_boot = next_boot_of("both", settings)
    await next_boot.set()
    for path, _ in LINKS["both"][:1]:
        (tmp_path / path).unlink()
        (tmp_path / path).write_text("default local\n")
    with pytest.raises(GatewayError, match="cannot be removed, do it by hand"):
        await next_boot.remove()
    assert links_below(tmp_path) == set()


async def test_what_a_crash_leaves_of_both_is_removed_by_the_next_command(settings, tmp_path):
    """Also where the node has another kind by then."""
    netboot = netboot_of(entry(netboot=Driver("both", {})), settings)
    journal = Journal(tmp_path / "state", "load", 60)
    for number, link in enumerate(netboot.links):
        link.make()
        name = "link.fit01" + (f"+{number}" if number else "")
        await journal._note(journal._record("fit01", link.path, link.entry), name)
    notes = list((tmp_path / "state").glob("*/link.fit01*"))
    assert len(notes) == 2
    for note in notes:
        note.write_text(note.read_text().replace(journal._boot, "of-before-the-crash"))
    said = [
        words
        for place in link_places([entry()], settings)
        for words in Journal(tmp_path / "state", "wait", 60).sweep(*place)
    ]
    assert len(said) == 2
    assert links_below(tmp_path) == set()
    assert list((tmp_path / "state").glob("*/link.*")) == []


def test_two_kinds_do_not_sweep_each_other_s_files(settings):
    """A name that one has means nothing in the directory of another."""
    names = dict(link_places([], settings))
    assert not names[settings.ipxe.config_dir].fullmatch(f"01-{MAC}")
    assert not names[settings.grub.config_dir].fullmatch("grub.cfg")
    assert not names[settings.grub.config_dir].fullmatch(f"{MAC}.ipxe")


def test_every_kind_of_the_table_is_there():
    assert {kind: NETBOOTS.named(kind).__module__.split(".")[-1] for kind in KINDS} == {
        kind: kind for kind in KINDS
    }


@pytest.mark.skipif(not shutil.which("grub-script-check"), reason="GRUB is not installed")
def test_grub_understands_the_lines_that_the_page_has(tmp_path):
    page = Path(__file__).parents[2] / "docs/KINDS.md"
    block = next(each for each in page.read_text().split("```") if "net_default_mac" in each)
    (tmp_path / "grub.cfg").write_text(block)
    subprocess.run(["grub-script-check", tmp_path / "grub.cfg"], check=True, timeout=30)
