"""Nextboot links: made at once, removed when they are ours, on every way out."""

import asyncio
import contextlib
import os
import threading
import time
from pathlib import Path

import pytest

from rhubarbe.config import Settings
from rhubarbe.config.settings import PxelinuxSettings
from rhubarbe.errors import GatewayError
from rhubarbe.node import next_boot as next_boot_module
from rhubarbe.node.next_boot import NextBoot
from rhubarbe.shared.directory import Directory
from rhubarbe.transports.netboot.by_mac import ByMacValues
from rhubarbe.transports.netboot.pxelinux import Pxelinux

MAC = "02:00:00:00:00:0A"
as_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can give a directory away")


def make(directory, mac=MAC, entry="pxefrisbee"):
    """Return what makes a node boot the ramdisk by a link in this directory."""
    pxelinux = PxelinuxSettings(config_dir=directory, frisbee_image=entry)
    return NextBoot(Pxelinux(ByMacValues(), mac, Settings(pxelinux=pxelinux)))


def only(next_boot):
    """Return the only link of a node."""
    (link,) = next_boot.links
    return link


@pytest.fixture
def next_boot(tmp_path):
    (tmp_path / "pxefrisbee").touch()
    return make(tmp_path)


async def test_the_link_is_relative_and_named_by_the_mac_in_lower_case(next_boot, tmp_path):
    await next_boot.set()
    assert only(next_boot).path == tmp_path / "01-02-00-00-00-00-0a"
    assert only(next_boot).path.readlink() == Path("pxefrisbee")
    assert await next_boot.left()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "01-02-00-00-00-00-0a",
        "pxefrisbee",
    ]


@pytest.mark.parametrize("target", ["other", "nowhere", "pxefrisbee"])
async def test_any_other_link_is_replaced(next_boot, target):
    only(next_boot).path.symlink_to(target)
    await next_boot.set()
    assert only(next_boot).path.readlink() == Path("pxefrisbee")


async def test_a_file_in_its_place_is_not_replaced(next_boot):
    only(next_boot).path.write_text("default local\n")
    with pytest.raises(GatewayError, match="is not a link that rhubarbe made: move it away"):
        await next_boot.set()
    assert only(next_boot).path.read_text() == "default local\n"


async def test_it_is_replaced_at_once(next_boot):
    only(next_boot).path.symlink_to("other")
    missing, over = [], threading.Event()

    def watch():
        while not over.is_set():
            if only(next_boot).is_there() is False:
                missing.append(1)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        for _ in range(300):
            await next_boot.set()
    finally:
        over.set()
        watcher.join()
    assert not missing


async def test_a_dangling_link_is_a_link(next_boot, tmp_path):
    (tmp_path / "pxefrisbee").unlink()
    await next_boot.set()
    assert await next_boot.left()
    await next_boot.remove()
    assert not await next_boot.left()


async def test_only_a_link_to_our_entry_is_removed(next_boot):
    only(next_boot).path.symlink_to("pxerescue")
    await next_boot.remove()
    assert only(next_boot).path.readlink() == Path("pxerescue")


async def test_removing_what_is_not_there_is_nothing(next_boot):
    await next_boot.remove()
    assert not await next_boot.left()


async def test_a_file_in_its_place_is_told_and_stays(next_boot):
    only(next_boot).path.write_text("default local\n")
    with pytest.raises(GatewayError, match=r"01-02.*cannot be removed, do it by hand"):
        await next_boot.remove()
    assert only(next_boot).path.read_text() == "default local\n"


@pytest.mark.parametrize("error", [None, ValueError, KeyboardInterrupt])
async def test_the_link_goes_on_every_way_out(next_boot, error):
    async def hold():
        async with next_boot.linked():
            assert await next_boot.left()
            if error:
                raise error

    if error:
        with pytest.raises(error):
            await hold()
    else:
        await hold()
    assert not await next_boot.left()


async def test_a_missing_entry_is_named(next_boot, tmp_path):
    await next_boot.require_entries()
    (tmp_path / "pxefrisbee").unlink()
    with pytest.raises(GatewayError, match=r"pxefrisbee: no such boot entry; see frisbee_image"):
        await next_boot.require_entries()


@pytest.mark.parametrize("key", ["config_dir", "entry"])
async def test_a_missing_entry_of_the_inventory_is_looked_for_there(tmp_path, key):
    said = {"config_dir": tmp_path} if key == "config_dir" else {"entry": "other"}
    settings = Settings(pxelinux=PxelinuxSettings(config_dir=tmp_path))
    next_boot = NextBoot(Pxelinux(ByMacValues(**said), MAC, settings))
    with pytest.raises(GatewayError, match="no such boot entry; see netboot in the inventory, and"):
        await next_boot.require_entries()


async def test_a_missing_directory_is_named_and_holds_nothing(tmp_path):
    next_boot = make(tmp_path / "nowhere")
    with pytest.raises(GatewayError, match=r"nowhere/01-.*cannot be made"):
        async with next_boot.linked():
            raise AssertionError("entered without a link")
    await next_boot.remove()


async def test_what_cannot_be_replaced_leaves_no_draft(next_boot, tmp_path):
    only(next_boot).path.mkdir()
    with pytest.raises(GatewayError, match="cannot be made"):
        await next_boot.set()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        only(next_boot).path.name,
        "pxefrisbee",
    ]


async def test_one_that_stays_goes_on_any_way_out_but_the_good_one(next_boot):
    async with next_boot.linked(stays=True):
        assert only(next_boot).path.readlink() == Path("pxefrisbee")
    assert await next_boot.left()
    with pytest.raises(KeyboardInterrupt):
        async with next_boot.linked(stays=True):
            raise KeyboardInterrupt
    assert not await next_boot.left()
    assert not only(next_boot).path.is_symlink()


async def test_a_directory_that_is_a_link_of_ours_is_followed(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "pxelinux.cfg").symlink_to("real")
    (tmp_path / "ramdisk.cfg").touch()
    (tmp_path / "real" / "ramdisk").symlink_to("../ramdisk.cfg")
    (tmp_path / "real").chmod(0o2775)
    link = make(tmp_path / "pxelinux.cfg", MAC, "ramdisk")
    await link.require_entries()
    async with link.linked():
        assert (tmp_path / "real" / only(link).path.name).readlink() == Path("ramdisk")
    assert not await link.left()


@as_root
@pytest.mark.parametrize("what", ["pxelinux.cfg", "link"])
async def test_what_a_stranger_owns_boots_no_node(tmp_path, what):
    (tmp_path / "pxelinux.cfg").mkdir()
    (tmp_path / "pxelinux.cfg" / "entry").touch()
    (tmp_path / "pxelinux.cfg" / "ramdisk").symlink_to("entry")
    (tmp_path / "link").symlink_to("pxelinux.cfg")
    os.chown(tmp_path / what, 4001, 4001, follow_symlinks=False)
    link = make(tmp_path / "link", MAC, "ramdisk")
    with pytest.raises(GatewayError, match=r"uid 4001"):
        await link.require_entries()
    with pytest.raises(GatewayError, match=r"01-02.*cannot be made.*uid 4001"):
        await link.set()
    assert not (tmp_path / "pxelinux.cfg" / only(link).path.name).is_symlink()


async def test_a_directory_that_takes_no_link_is_one_line(tmp_path):
    (tmp_path / "pxelinux.cfg").write_text("a file, where a directory should be")
    link = make(tmp_path / "pxelinux.cfg", "02:00:00:00:00:01", "ramdisk")
    with pytest.raises(GatewayError, match="the nextboot link cannot be made: Not a directory"):
        await link.set()


class Stuck:
    """A directory that answers nobody until it is let go; who asks is counted."""

    def __init__(self, monkeypatch):
        self._answers = threading.Event()
        self.asked = threading.Semaphore(0)
        opened = Directory.open.__func__

        def open_late(cls, *words, **options):
            self.asked.release()
            self._answers.wait(60)
            return opened(cls, *words, **options)

        monkeypatch.setattr(Directory, "open", classmethod(open_late))

    def let_go(self):
        self._answers.set()


@pytest.fixture
def stuck(monkeypatch):
    made = Stuck(monkeypatch)
    monkeypatch.setattr(next_boot_module, "ANSWERS_WITHIN_S", 0.2)
    yield made
    made.let_go()


@pytest.mark.parametrize(
    ("act", "words"),
    [
        (NextBoot.require_entries, "{place}: no answer in 0.2 s; nothing was touched"),
        (NextBoot.set, "{path}: the nextboot link cannot be made: no answer in 0.2 s"),
        (NextBoot.remove, "{path}: the nextboot link cannot be removed, .*: no answer in 0.2 s"),
        (NextBoot.left, "{path}: no answer in 0.2 s"),
    ],
)
async def test_one_that_never_answers_is_given_up_and_nobody_else_waits(
    stuck, next_boot, act, words
):
    turns = 0
    task = asyncio.Task(act(next_boot))
    while not task.done():
        turns += 1
        await asyncio.sleep(0.01)
    assert turns > 5
    told = words.format(place=only(next_boot).path.parent, path=only(next_boot).path)
    with pytest.raises(GatewayError, match=rf"\A{told}\Z"):
        task.result()


def none_is_left(next_boot):
    """Wait until nothing but the entry is there."""
    end = time.monotonic() + 10
    while list(only(next_boot).path.parent.iterdir()) != [
        only(next_boot).path.with_name(only(next_boot).entry)
    ]:
        assert time.monotonic() < end
        time.sleep(0.01)
    return True


@pytest.mark.parametrize("way", ["given up", "cancelled"])
async def test_what_is_made_too_late_is_taken_back(stuck, next_boot, way, monkeypatch):
    made = threading.Event()
    set_link = Directory.set_link

    def tell(directory, *words):
        set_link(directory, *words)
        made.set()

    monkeypatch.setattr(Directory, "set_link", tell)
    task = asyncio.Task(next_boot.set())
    assert await asyncio.to_thread(stuck.asked.acquire, timeout=10)
    if way == "cancelled":
        task.cancel()
    await asyncio.wait([task])
    stuck.let_go()
    assert await asyncio.to_thread(made.wait, 10)
    assert await asyncio.to_thread(none_is_left, next_boot)
    with contextlib.suppress(GatewayError, asyncio.CancelledError):
        task.result()


async def test_who_is_cancelled_while_it_is_made_leaves_none(stuck, next_boot, monkeypatch):
    monkeypatch.setattr(next_boot_module, "ANSWERS_WITHIN_S", 30)
    task = asyncio.Task(next_boot.set())
    assert await asyncio.to_thread(stuck.asked.acquire, timeout=10)
    task.cancel()
    asyncio.get_running_loop().call_later(0.05, stuck.let_go)
    await asyncio.wait([task], timeout=10)
    assert task.cancelled()
    assert only(next_boot).is_there() is False


async def test_where_no_thread_can_be_had_the_link_goes_all_the_same(next_boot, monkeypatch):
    await next_boot.set()

    async def none(*_):
        raise GatewayError("this machine cannot do more: can't start new thread")

    monkeypatch.setattr(next_boot_module, "to_an_end", none)
    await next_boot.remove()
    assert only(next_boot).is_there() is False
