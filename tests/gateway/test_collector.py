"""The collector: one image from one node over a real socket, whole or not at all."""

import asyncio
import contextlib
import errno
import os

import pytest

from rhubarbe.errors import GatewayError, NodeError
from rhubarbe.gateway.services import collector as collector_module
from rhubarbe.gateway.services.collector import collect

IP = "127.0.0.1"
CHUNK = 1 << 20
SECTORS = 16384


@pytest.fixture
def partial(tmp_path):
    return tmp_path / "mine.ndz.partial"


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(collector_module, "LAST_BYTES_S", 0.2)


@pytest.fixture
async def open_collector(partial):
    """Open a collector that serves `sender`; its `reached` is what it tells of the disk."""

    @contextlib.asynccontextmanager
    async def opened(sender=IP):
        reached, refusals = [], []
        async with collect(
            partial,
            address=IP,
            sender=sender,
            on_reach=reached.append,
            on_refusal=refusals.append,
        ) as opened:
            opened.reached, opened.refusals = reached, refusals
            yield opened

    return opened


@contextlib.asynccontextmanager
async def node(collector, data=b"", source=IP, secret=None):
    """Connect as a node from `source`, and send data; yield the reader and the writer."""
    reader, writer = await asyncio.open_connection(
        collector.address, collector.port, local_addr=(source, 0)
    )
    try:
        with contextlib.suppress(ConnectionError):
            writer.write((collector.secret.encode() if secret is None else secret) + data)
            await writer.drain()
        yield reader, writer
    finally:
        writer.transport.abort()
        await asyncio.sleep(0)


async def send(collector, data, source=IP, secret=None):
    async with node(collector, data, source, secret) as (reader, writer):
        with contextlib.suppress(OSError):
            writer.write_eof()
            await reader.read()


async def refusal(waiting):
    async with asyncio.timeout(5):
        with pytest.raises(NodeError, match=r"\A[^\n]+\Z") as caught:
            await waiting
    return str(caught.value)


async def test_a_whole_image_is_complete(open_collector, partial, image):
    async with open_collector() as collector:
        assert collector.address == IP
        await send(collector, image)
        assert await collector.complete(len(image)) == len(image)
    assert partial.read_bytes() == image
    assert collector.reached == [SECTORS * 512, 2 * SECTORS * 512]


async def test_a_size_that_nobody_announced_is_not_needed(open_collector, image):
    async with open_collector() as collector:
        await send(collector, image)
        assert await collector.complete(None) == len(image)


@pytest.mark.parametrize("announced", [None, 2 * CHUNK])
async def test_who_waits_already_is_told_of_the_end(open_collector, monkeypatch, image, announced):
    monkeypatch.setattr(collector_module, "LAST_BYTES_S", 600)
    async with open_collector() as collector, asyncio.timeout(20), asyncio.TaskGroup() as group:
        waiting = group.create_task(collector.complete(announced))
        async with node(collector, image[:CHUNK]) as (_, writer):
            writer.write(image[CHUNK:])
            if announced is None:
                while len(collector.reached) < 2:  # noqa: ASYNC110 - the collector fills it
                    await asyncio.sleep(0.01)
                writer.write_eof()
            assert await waiting == len(image)


@pytest.mark.parametrize("piece", [1000, 65536, CHUNK + 1])
async def test_pieces_of_any_size_make_the_image(open_collector, partial, image, piece):
    async with open_collector() as collector:
        async with node(collector) as (_, writer):
            for start in range(0, len(image), piece):
                writer.write(image[start : start + piece])
                await writer.drain()
            assert await collector.complete(len(image)) == len(image)
        assert partial.read_bytes() == image


async def test_a_sender_that_never_closes_is_not_waited_for(open_collector, image):
    async with open_collector() as collector, node(collector, image) as (reader, _):
        assert await collector.complete(len(image)) == len(image)
        await collector.close()
        async with asyncio.timeout(10):
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b""


async def test_an_image_cut_within_a_chunk_is_refused(open_collector, partial, image):
    async with open_collector() as collector:
        await send(collector, image[:-1])
        assert await refusal(collector.alarm()) == "the image stopped within chunk 1"
        assert "within chunk 1" in await refusal(collector.complete(len(image)))
    assert partial.read_bytes() == image[:CHUNK]


async def test_an_image_cut_between_chunks_is_refused(open_collector, image):
    async with open_collector() as collector:
        await send(collector, image[:CHUNK])
        says = await refusal(collector.complete(len(image)))
    assert says == f"imagezip made {2 * CHUNK} bytes, {CHUNK} arrived"


async def test_an_image_longer_than_announced_is_refused(open_collector, image):
    async with open_collector() as collector:
        await send(collector, image)
        assert "arrived" in await refusal(collector.complete(CHUNK))


async def test_what_stops_coming_is_not_waited_for(open_collector, impatient, image):
    async with open_collector() as collector, node(collector, image[:-5]):
        assert "cut short: 1048576 bytes arrived of 2097152" in await refusal(
            collector.complete(len(image))
        )


async def test_a_damaged_chunk_is_named_as_it_comes(open_collector, image):
    damaged = bytearray(image)
    damaged[CHUNK + 4096 : CHUNK + 4196] = bytes(100)
    async with open_collector() as collector:
        await send(collector, bytes(damaged))
        says = await refusal(collector.alarm())
        assert says.startswith("what the node sends is not a whole image: chunk 1")
        assert "chunk 1" in await refusal(collector.complete(len(image)))
    assert collector.reached == [SECTORS * 512]


async def test_what_is_no_image_is_refused(open_collector):
    async with open_collector() as collector:
        await send(collector, b"sh: imagezip: not found\n" * 50000)
        assert "not a whole image" in await refusal(collector.alarm())


async def test_a_chunk_sent_twice_is_refused(open_collector, chunk):
    async with open_collector() as collector:
        await send(collector, chunk * 2)
        assert "chunk 1: says that it is chunk 0" in await refusal(collector.alarm())


async def test_nothing_is_no_image(open_collector, partial):
    async with open_collector() as collector:
        await send(collector, b"")
        assert "not a whole image" in await refusal(collector.complete(None))
    assert not partial.exists()


async def test_where_nobody_came_nothing_is_left(open_collector, impatient, partial):
    async with open_collector() as collector:
        assert partial.exists()
        assert "0 bytes arrived of an unknown number" in await refusal(collector.complete(None))
    assert not partial.exists()


async def test_another_sender_is_turned_away(open_collector, image):
    async with open_collector() as collector:
        async with node(collector, b"x" * 5000, source="127.0.0.9") as (reader, _):
            async with asyncio.timeout(10):
                with contextlib.suppress(ConnectionError):
                    assert await reader.read() == b""
        await send(collector, image)
        assert await collector.complete(len(image)) == len(image)
        words = f"a sender at 127.0.0.9 was turned away: the image comes from {IP}"
        assert collector.refusals == [words]
        assert str(collector.explain(NodeError("cut"))) == f"cut; {words}"


async def test_strangers_without_number_are_named_once(open_collector, image):
    async with open_collector() as collector:
        for last in [*range(2, 22), 2]:
            await send(collector, b"", source=f"127.0.0.{last}")
        await send(collector, image)
        assert await collector.complete(len(image)) == len(image)
        assert len(collector.refusals) == len(set(collector.refusals)) == 10


async def test_an_error_is_as_it_was_where_nobody_was_turned_away(open_collector):
    async with open_collector() as collector:
        error = NodeError("cut")
        assert collector.explain(error) is error


async def test_a_second_connection_is_turned_away(open_collector, partial, image):
    async with open_collector() as collector, node(collector, image[:CHUNK]) as (_, writer):
        while not collector.reached:  # noqa: ASYNC110 - a list that the collector fills
            await asyncio.sleep(0.01)
        await send(collector, b"y" * CHUNK)
        assert collector.refusals == [
            f"a second sender at {IP} was turned away: only the first is received"
        ]
        writer.write(image[CHUNK:])
        await writer.drain()
        assert await collector.complete(len(image)) == len(image)
    assert partial.read_bytes() == image


WITHOUT = f"a sender at {IP} was turned away: it has not sent the secret first"


@pytest.mark.parametrize("secret", [b"", b"0", b"0" * 31, b"0" * 32, b"\xff" * 5000, b"\n" * 40])
async def test_a_stranger_at_the_node_s_address_without_the_secret_is_named(
    open_collector, partial, image, secret
):
    async with open_collector() as collector:
        await send(collector, image if len(secret) > 32 else b"", secret=secret)
        await send(collector, image)
        assert await collector.complete(len(image)) == len(image)
        assert collector.refusals == [WITHOUT]
        assert str(collector.explain(NodeError("cut"))) == f"cut; {WITHOUT}"
    assert partial.read_bytes() == image


async def test_another_save_s_secret_is_none(open_collector, image):
    async with open_collector() as collector:
        await send(collector, image, secret=os.urandom(16).hex().encode())
        assert collector.refusals == [WITHOUT]
        assert len(collector.secret) == 32


async def test_the_secret_may_come_in_pieces(open_collector, image):
    async with open_collector() as collector, node(collector, secret=b"") as (_, writer):
        for byte in collector.secret.encode():
            writer.write(bytes([byte]))
            await writer.drain()
        writer.write(image)
        await writer.drain()
        assert await collector.complete(len(image)) == len(image)


async def test_the_secret_is_for_one_connection(open_collector, image):
    async with open_collector() as collector, node(collector, image[:CHUNK]):
        while not collector.reached:  # noqa: ASYNC110 - a list that the collector fills
            await asyncio.sleep(0.01)
        await send(collector, image)
        assert "a second sender" in collector.refusals[0]


async def test_silent_strangers_keep_the_node_out_neither_by_number_nor_for_long(
    open_collector, image, monkeypatch
):
    monkeypatch.setattr(collector_module, "MOST_GUESTS", 8)
    async with contextlib.AsyncExitStack() as stack, open_collector() as collector:
        guests = [await stack.enter_async_context(node(collector, secret=b"00")) for _ in range(30)]
        async with asyncio.timeout(10):
            for reader, _ in guests[:22]:
                with contextlib.suppress(ConnectionError):
                    assert await reader.read() == b""
        await send(collector, image)
        assert await collector.complete(len(image)) == len(image)


async def test_who_does_not_present_the_secret_soon_is_cut(open_collector, monkeypatch):
    monkeypatch.setattr(collector_module, "PRESENTED_WITHIN_S", 0.1)
    async with open_collector() as collector, node(collector, secret=b"00") as (reader, _):
        async with asyncio.timeout(10):
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b""
        assert collector.refusals == [WITHOUT]


async def test_two_who_are_both_right_are_not_both_received(open_collector, partial, image):
    async with (
        open_collector() as collector,
        node(collector, secret=b"") as (_, one),
        node(collector, secret=b"") as (_, two),
    ):
        for writer in (one, two):
            writer.write(collector.secret.encode() + image)
        assert await collector.complete(len(image)) == len(image)
    assert partial.read_bytes() == image


async def test_a_full_disk_is_told_while_the_image_comes(
    open_collector, partial, image, monkeypatch
):
    written = []

    def write(descriptor, data):
        if written:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written.append(descriptor)
        return real(descriptor, data)

    real = os.write
    async with open_collector() as collector:
        monkeypatch.setattr(collector_module.os, "write", write)
        await send(collector, image)
        says = await refusal(collector.alarm())
        monkeypatch.undo()
    assert str(partial) in says
    assert "No space left on device" in says
    assert not partial.exists()


async def test_bytes_that_cannot_be_synced_are_no_image(open_collector, image, monkeypatch):
    def fsync(descriptor):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    async with open_collector() as collector:
        await send(collector, image)
        monkeypatch.setattr(collector_module.os, "fsync", fsync)
        assert "cannot be written" in await refusal(collector.complete(len(image)))


@pytest.mark.parametrize(
    ("place", "says"),
    [
        ("nowhere/mine.ndz.partial", "partial: cannot collect an image"),
        ("link", "the image cannot be collected: .*link: is a link"),
    ],
)
async def test_a_place_that_cannot_be_written_is_named(tmp_path, place, says):
    (tmp_path / "link").symlink_to(tmp_path / "target")
    with pytest.raises(GatewayError, match=says):
        async with collect(
            tmp_path / place, address=IP, sender=IP, on_reach=print, on_refusal=print
        ):
            raise AssertionError("entered without a file")
    assert not (tmp_path / "target").exists()


async def test_an_older_partial_image_is_replaced(open_collector, partial, image):
    partial.write_bytes(b"old" * CHUNK)
    async with open_collector() as collector:
        await send(collector, image)
        await collector.complete(len(image))
    assert partial.read_bytes() == image


async def test_two_saves_never_write_into_the_same_file(open_collector, partial, image):
    async with open_collector() as collector:
        with pytest.raises(GatewayError, match=f"{partial}: another save"):
            async with collect(partial, address=IP, sender=IP, on_reach=print, on_refusal=print):
                raise AssertionError("two collectors on one file")
        await send(collector, image)
        assert await collector.complete(len(image)) == len(image)
    assert partial.read_bytes() == image


async def test_a_published_image_is_never_written_into(partial, image):
    partial.write_bytes(image)
    os.link(partial, partial.with_name("mine.ndz"))
    with pytest.raises(GatewayError, match="also has another name"):
        async with collect(partial, address=IP, sender=IP, on_reach=print, on_refusal=print):
            raise AssertionError("a collector on an image that has its final name")
    assert partial.with_name("mine.ndz").read_bytes() == image


async def test_cancelling_in_the_middle_leaves_only_the_partial_image(
    open_collector, partial, image
):
    async def save():
        async with open_collector() as collector, node(collector, image[: CHUNK + 5]):
            while not collector.reached:  # noqa: ASYNC110 - a list that the collector fills
                await asyncio.sleep(0.01)
            begun.set()
            await collector.complete(len(image))

    begun = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        saving = group.create_task(save())
        await begun.wait()
        saving.cancel()
    assert partial.stat().st_size == CHUNK
