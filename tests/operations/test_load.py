"""A load on nodes that are not there: what it leaves behind, however it ends."""

import asyncio
import json
import re
import threading

import pytest

from rhubarbe.errors import GatewayError, ImageError, Unreachable
from rhubarbe.events import ImageChosen, NodeFailed, NodeNoted, NodeRetried, Notice, Phase, Started
from rhubarbe.gateway.state.locks import hold
from rhubarbe.operations import vouching
from rhubarbe.operations.load import LoadRequest, load
from rhubarbe.repository import OpenImage, opening


def append_to(image):
    with image.open("ab") as file:
        file.write(b"more")


@pytest.fixture
def loading(testbed):
    """Return what loads the image on all the nodes."""

    def work(**options):
        request = LoadRequest(
            image=testbed.image,
            entries=testbed.entries,
            limit=60.0,
            bandwidth_mibps=1000,
            **{"retries": 0} | options,
        )
        return load(request, testbed.settings, testbed.bus, testbed.doors)

    return work


async def test_all_nodes_get_the_image_and_boot_their_disks(testbed, loading):
    await testbed.run(loading())
    assert testbed.told[0] == Started(command="load", nodes=("fit01", "fit02", "fit03"))
    (chosen,) = testbed.of(ImageChosen)
    content = testbed.image.read_bytes()
    assert (chosen.path, chosen.size) == (str(testbed.image), len(content))
    assert testbed.finished.good == "1-3"
    for node in testbed.nodes:
        assert node.written == content
        assert (node.orders, node.runs) == (["reset", "reset"], "disk")
    assert testbed.links() == []


async def test_nodes_that_are_in_the_ramdisk_already_are_not_reset(testbed, loading):
    for node in testbed.nodes:
        node.runs = "ramdisk"
    await testbed.run(loading(resets=False))
    assert testbed.finished.good == "1-3"
    assert {(*node.orders, node.runs) for node in testbed.nodes} == {("ramdisk",)}


async def test_a_node_that_fails_in_any_phase_is_named_and_the_others_go_on(
    testbed, loading, phase, faults
):
    testbed.second.spoilt[phase] = faults[phase]
    await testbed.run(loading())
    assert testbed.results() == {"fit01": None, "fit02": phase, "fit03": None}
    assert testbed.links() == []


async def test_an_interrupt_in_any_phase_gives_everything_back(testbed, loading, phase):
    testbed.third.spoilt[phase] = testbed.hang
    await testbed.interrupt(loading())
    assert testbed.results()["fit03"] is phase
    assert testbed.links() == []


async def test_a_link_is_noted_for_whoever_comes_after_a_crash(testbed, loading):
    testbed.third.spoilt[Phase.RAMDISK] = testbed.hang
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        load = group.create_task(loading())
        await testbed.third.hangs.wait()
        assert testbed.third.link.name in testbed.links()
        (note,) = testbed.state.glob("*/link.fit03")
        assert json.loads(note.read_text())["path"] == str(testbed.third.link)
        load.cancel()
    assert testbed.links() == []


async def test_a_node_is_tried_again_as_often_as_was_asked_for(testbed, loading):
    testbed.first.spoilt[Phase.IMAGE] = Unreachable("cut")
    await testbed.run(loading(retries=2))
    assert testbed.finished.bad == "1"
    assert [event.attempt for event in testbed.of(NodeRetried)] == [2, 3]
    assert testbed.first.orders == ["reset"] * 3


async def test_a_node_that_another_command_works_on_is_not_touched(testbed, loading):
    async with hold(testbed.state, "save", ["fit02"], 0.0):
        with pytest.raises(
            GatewayError, match=r"fit02 is taken by .* save .*: nothing was touched"
        ):
            await loading()
    assert all(not node.orders for node in testbed.nodes)
    assert testbed.links() == []


async def test_who_is_refused_meanwhile_is_told_how_far_it_is(testbed, loading):
    for node in testbed.nodes:
        node.spoilt[Phase.IMAGE] = testbed.hang
    said = ""

    async def ask():
        nonlocal said
        while "%" not in said:
            with pytest.raises(GatewayError) as caught:
                await hold(testbed.state, "save", ["fit02"], 0.0).__aenter__()
            said = str(caught.value)

    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        load = group.create_task(loading())
        for node in testbed.nodes:
            await node.hangs.wait()
        await ask()
        load.cancel()
    assert re.search(
        r"load \(pid \d+, since [0-9:]+\), \d+ % of the image: nothing was touched", said
    )


@pytest.mark.parametrize(("verifies", "bad"), [(True, ""), (False, "2")])
async def test_a_node_that_is_to_verify_must_say_that_it_did(testbed, loading, verifies, bad):
    testbed.second.verifies = verifies
    await testbed.run(loading(verifies=True))
    assert testbed.finished.bad == bad
    assert all("--verify" in node.commands[-1] for node in testbed.nodes)


async def test_a_disk_that_is_too_small_is_refused_before_it_is_written(testbed, loading):
    testbed.third.disk_size = 4096
    await testbed.run(loading(retries=3))
    assert testbed.finished.bad == "3"
    (failed,) = testbed.of(NodeFailed)
    assert "too small" in failed.reason
    assert testbed.third.written == b""
    assert testbed.of(NodeRetried) == []


async def test_programs_that_know_how_are_given_what_proves_the_image(testbed, loading):
    testbed.first.version = ["rhubarbe-frisbee 1", "manifest 1: blake2b sha256"]
    await testbed.run(loading())
    assert "--manifest-digest" in testbed.first.commands[-1]
    assert "--manifest" not in testbed.second.commands[-1]
    notes = {event.node for event in testbed.of(NodeNoted) if "cannot prove" in event.text}
    assert notes == {"fit02", "fit03"}
    (notice,) = [event for event in testbed.of(Notice) if "cannot be proven" in event.text]
    assert "is not ours" in notice.text


async def test_the_digest_that_a_node_takes_is_made_for_it(testbed, loading):
    for node in testbed.nodes:
        node.version = ["rhubarbe-frisbee 1", f"manifest 1: {vouching.KINDS[-1]}"]
    await testbed.run(loading())
    assert testbed.finished.good == "1-3"
    assert len({node.commands[-1].partition("--manifest-digest")[2] for node in testbed.nodes}) == 3


async def test_an_image_that_is_written_to_meanwhile_fails_all_nodes(testbed, loading):
    hung = testbed.hang
    for node in testbed.nodes:
        node.spoilt[Phase.IMAGE] = hung

    async def spoil():
        await testbed.first.hangs.wait()
        append_to(testbed.image)

    async with asyncio.TaskGroup() as group:
        group.create_task(spoil())
        await testbed.run(loading())
    assert testbed.finished.good == ""
    reasons = {event.reason for event in testbed.of(NodeFailed)}
    assert reasons == {f"{testbed.image}: was changed while it was loaded"}
    assert testbed.links() == []


async def test_what_a_node_wrote_without_proof_of_an_image_that_changed_is_not_believed(
    testbed, loading
):
    """However soon after the change it says that it is done."""
    testbed.second.spoilt[Phase.IMAGE] = lambda: append_to(testbed.image)
    await testbed.run(loading())
    failed = {event.node: event.reason for event in testbed.of(NodeFailed)}
    assert failed["fit02"] == f"{testbed.image}: was changed while it was loaded"


async def test_where_the_server_ends_since_the_image_was_changed_that_is_the_reason(
    testbed, loading
):
    server = testbed.directory / "server"
    waits = 'while [ ! -e "$0.ends" ]; do sleep 0.05; done; exit 3'
    server.write_text(server.read_text().replace("exec sleep 600", waits))
    for node in testbed.nodes:
        node.spoilt[Phase.IMAGE] = testbed.hang

    async def spoil():
        await testbed.first.hangs.wait()
        append_to(testbed.image)
        (testbed.directory / "server.ends").touch()

    async with asyncio.TaskGroup() as group:
        group.create_task(spoil())
        await testbed.run(loading())
    reasons = {event.reason for event in testbed.of(NodeFailed)}
    assert reasons == {f"{testbed.image}: was changed while it was loaded"}


async def test_a_server_that_ends_fails_the_nodes_that_need_it(testbed, loading):
    server = testbed.directory / "server"
    server.write_text("#!/bin/sh\necho no multicast here\nexit 3\n")
    await testbed.run(loading())
    assert testbed.finished.bad == "1-3"
    assert all("no multicast here" in event.reason for event in testbed.of(NodeFailed))
    assert testbed.links() == []


@pytest.mark.parametrize(
    ("spoil", "error", "words"),
    [
        (lambda testbed: testbed.image.write_bytes(b"no image"), ImageError, "mine.ndz"),
        (lambda testbed: testbed.image.unlink(), ImageError, "is no file"),
        (lambda testbed: (testbed.pxelinux / "pxefrisbee").unlink(), GatewayError, "boot entry"),
        (lambda testbed: (testbed.directory / "server").unlink(), GatewayError, "server"),
    ],
)
async def test_what_is_lacking_is_said_before_anything_is_touched(
    testbed, loading, spoil, error, words
):
    spoil(testbed)
    with pytest.raises(error, match=words):
        await loading()
    assert all(not node.orders and not node.commands for node in testbed.nodes)
    assert testbed.links() == []
    await testbed.require_all_given_back()


async def test_a_load_that_waits_believes_nodes_that_show_a_new_boot(testbed, loading):
    testbed.third.uptime = 1e6
    testbed.limit(wait_default_timeout=2.0)
    await testbed.run(loading(waits=True))
    assert testbed.results() == {"fit01": None, "fit02": None, "fit03": Phase.SSH}
    (failed,) = testbed.of(NodeFailed)
    assert "was up before the image" in failed.reason


async def test_an_interrupted_load_does_not_finish_checking_its_image(monkeypatch, tmp_path):
    begun, ended = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def check_image(path, stop, file, manifest):
        loop.call_soon_threadsafe(begun.set)
        assert stop.wait(20)
        ended.set()

    monkeypatch.setattr(opening, "check_image", check_image)
    (tmp_path / "large.ndz").touch()
    image = OpenImage(tmp_path / "large.ndz")
    async with asyncio.TaskGroup() as group:
        checking = group.create_task(vouching.check_image(image, str(tmp_path / "state")))
        await begun.wait()
        checking.cancel()
    assert await asyncio.to_thread(ended.wait, 20)
    image.close()
