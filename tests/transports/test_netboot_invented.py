"""A kind of netboot that is in no file of rhubarbe: the one that docs/KINDS.md prints."""

import asyncio
import os
import re
import sys
from pathlib import Path

import pytest
from absent import entry

from rhubarbe.config import Settings
from rhubarbe.config.settings import PxelinuxSettings
from rhubarbe.errors import GatewayError
from rhubarbe.gateway.processes.guardian import Guardian
from rhubarbe.gateway.state.journal import Journal
from rhubarbe.inventory import Driver
from rhubarbe.node.next_boot import NextBoot
from rhubarbe.transports import netboot
from rhubarbe.transports.netboot import link_places

PAGE = Path(__file__).parents[2] / "docs/KINDS.md"
NAME = "01-02-00-00-00-00-01"


@pytest.fixture
def node(tmp_path, monkeypatch):
    """A node of the inventory that yaboot boots, and the line in the table."""
    codes = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S)
    (code,) = [each for each in codes if "class Yaboot" in each]
    (tmp_path / "yaboot.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "yaboot", raising=False)
    monkeypatch.setitem(netboot.KINDS, "yaboot", "yaboot.Yaboot")
    (tmp_path / "tftp").mkdir()
    (tmp_path / "tftp/ramdisk.conf").touch()
    driver = Driver("yaboot", {"root": str(tmp_path / "tftp")})
    assert list(netboot.NETBOOTS.faults(driver)) == []
    return entry(netboot=driver)


@pytest.fixture
def settings(tmp_path):
    return Settings(pxelinux=PxelinuxSettings(config_dir=tmp_path / "pxelinux.cfg"))


async def test_the_link_is_there_for_as_long_as_it_is_needed(node, settings, tmp_path):
    next_boot = NextBoot(netboot.netboot_of(node, settings))
    await next_boot.require_entries()
    async with next_boot.linked():
        assert (tmp_path / "tftp" / NAME).readlink() == Path("ramdisk.conf")
    assert not (tmp_path / "tftp" / NAME).is_symlink()


async def test_an_entry_that_is_not_there_is_told_and_where_it_was_said(node, settings, tmp_path):
    (tmp_path / "tftp/ramdisk.conf").unlink()
    words = "ramdisk.conf: no such boot entry; see netboot in the inventory"
    with pytest.raises(GatewayError, match=words):
        await NextBoot(netboot.netboot_of(node, settings)).require_entries()


async def test_what_a_crash_leaves_is_removed_by_the_next_command(node, settings, tmp_path):
    """And nothing beside it that is called otherwise."""
    (link,) = netboot.netboot_of(node, settings).links
    link.make()
    journal = Journal(tmp_path, "load", 60)
    await journal._note(journal._record("fit01", link.path, link.entry), "link.fit01")
    (note,) = tmp_path.glob("*/link.fit01")
    note.write_text(note.read_text().replace(journal._boot, "of-before-the-crash"))
    *others, (directory, names) = link_places([node], settings)
    assert {place for place, _ in others} == {
        settings.pxelinux.config_dir,
        settings.grub.config_dir,
        settings.ipxe.config_dir,
    }
    for place, its_names in others:
        assert Journal(tmp_path, "wait", 60).sweep(place, its_names) == []
    (said,) = Journal(tmp_path, "wait", 60).sweep(directory, names)
    assert "removed the nextboot link of fit01" in said
    assert not link.path.is_symlink()


async def test_what_a_killed_command_leaves_is_removed_by_the_guardian(node, settings):
    (link,) = netboot.netboot_of(node, settings).links
    async with Guardian() as guardian:
        with guardian.guarding_link(link.path, link.entry):
            link.make()
            os.close(guardian._pipe)  # as at our death
            async with asyncio.timeout(20):
                await guardian._process.wait()
                while link.is_there():  # noqa: ASYNC110 - no event tells
                    await asyncio.sleep(0.02)
            guardian._pipe = os.open(os.devnull, os.O_WRONLY)
