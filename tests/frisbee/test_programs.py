import contextlib
import errno
import hashlib
import json
import os
import random
import re
import signal
import socket
import subprocess
import threading

import pytest
from captures import DATA, stored_image
from programs import Network, program, wait_for

EXPECTED = json.loads((DATA.parent / "ndz" / "results.json").read_text())


@pytest.fixture
def network():
    return Network()


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "d8-l.ndz"
    path.write_bytes(stored_image("d8-l"))
    return path


def _hash(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("clients", [1, 6])
def test_every_client_restores_the_image(network, large_image, tmp_path, clients):
    path, expected = large_image
    disks = [tmp_path / f"disk{number}" for number in range(clients)]
    with network.serving(path, "-W", "300000000", "-d") as server:
        ends = network.load(disks)
    assert [status for status, _ in ends] == [0] * clients
    assert {_hash(disk) for disk in disks} == {expected}
    for _, said in ends:
        assert re.search(r"^Joined the team after \d+ sec. ID is \d+. File is 6 chunks", said, re.M)
        assert re.search(r"^\.{6}$", said, re.M)
        assert re.search(r"^Left the team after \d+ seconds on the field!$", said, re.M)
        assert re.search(r"^Wrote 8601600 bytes \(8601600 actual\)$", said, re.M)
    assert server.returncode == 0
    assert f"joins/leaves:      {clients}/{clients}" in server.said
    sent = int(re.search(r"1k blocks sent:    (\d+)", server.said)[1])
    assert 6 * 1024 <= sent <= 3 * 6 * 1024


@contextlib.contextmanager
def _datagrams(network, payload):
    """Send datagrams to the group, the server and a client, as fast as it goes."""
    over = threading.Event()
    places = [(network.group, network.port)]
    places += [(host, network.port) for host in (network.server, network.client(0))]

    def send():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            stranger.bind((network.client(77), 0))
            own = socket.inet_aton(network.client(77))
            stranger.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, own)
            while not over.wait(0.002):
                for place in places:
                    stranger.sendto(payload, place)

    sending = threading.Thread(target=send)
    sending.start()
    try:
        yield
    finally:
        over.set()
        sending.join()


@pytest.mark.parametrize("payload", [b"", b"\0", bytes(15), bytes(16), bytes(1472)], ids=len)
def test_odd_datagrams_stop_neither_end(network, large_image, tmp_path, payload):
    path, expected = large_image
    with network.serving(path, "-W", "100000000") as server, _datagrams(network, payload):
        ends = network.load([tmp_path / "disk"])
        assert server.poll() is None
    assert ends[0][0] == 0, ends
    assert _hash(tmp_path / "disk") == expected
    assert f"Ignored what came from {network.client(77)}: " in ends[0][1]


def test_an_image_of_the_original_is_restored_sparse_and_with_zeroes(network, image, tmp_path):
    sparse, zeroed = tmp_path / "sparse", tmp_path / "zeroed"
    with network.serving(image):
        assert network.load([sparse])[0][0] == 0
        assert network.load([zeroed], "-z", "--verify")[0][0] == 0
    assert (sparse.stat().st_size, _hash(sparse)[:16]) == (9504768, "7c81e356683ebdc1")
    assert (zeroed.stat().st_size, _hash(zeroed)[:16]) == (16777216, "e19410e9e3ad4f63")
    assert sparse.stat().st_blocks * 512 < 9504768 / 2


def test_a_file_that_is_a_disk_keeps_its_size_and_its_other_content(network, image, tmp_path):
    disk = tmp_path / "disk"
    disk.write_bytes(b"\xaa" * (20 << 20))
    with network.serving(image):
        ((status, _),) = network.load([disk], "--as-device")
    assert status == 0
    content = disk.read_bytes()
    assert len(content) == 20 << 20
    assert content[-1024:] == b"\xaa" * 1024
    assert content[1024 + 56 : 1024 + 58] == b"\x53\xef"  # the superblock of the image


def test_a_disk_that_is_too_small_is_a_write_error(network, image, tmp_path):
    disk = tmp_path / "disk"
    disk.write_bytes(bytes(1 << 20))
    with network.serving(image):
        ((status, said),) = network.load([disk], "--as-device")
    assert status == 1
    assert "Left the team" not in said


@pytest.mark.parametrize("size", [3_000_000, 2_098_176, 1000, 1 << 20])
def test_any_file_is_copied_as_it_is(network, tmp_path, size):
    path, disk = tmp_path / "file", tmp_path / "copy"
    path.write_bytes(random.Random(4).randbytes(size))
    with network.serving(path):
        ((status, said),) = network.load([disk], "-N", "--verify")
    assert status == 0
    assert disk.read_bytes() == path.read_bytes()
    assert f"Verified {size} bytes" in said
    assert f"Wrote {size} bytes ({size} actual)" in said


def test_what_is_no_image_is_said_to_be_none(network, tmp_path):
    path = tmp_path / "noise"
    path.write_bytes(random.Random(5).randbytes(1 << 20))
    with network.serving(path):
        ((status, said),) = network.load([tmp_path / "disk"])
    assert status == 1
    assert "Bad Magic Number!" in said


def test_quiet_leaves_out_dots_and_statistics(network, image, tmp_path):
    with network.serving(image):
        ((status, said),) = network.load([tmp_path / "disk"], "-q")
    assert status == 0
    assert "Performance" not in said
    assert not re.search(r"^\.+$", said, re.M)
    assert "Wrote " in said


def test_a_small_receive_buffer_costs_repeats_not_bytes(network, large_image, tmp_path):
    path, expected = large_image
    disks = [tmp_path / f"disk{number}" for number in range(3)]
    with network.serving(path, "-W", "400000000"):
        ends = network.load(disks, "-k", "64")
    assert [status for status, _ in ends] == [0, 0, 0]
    assert {_hash(disk) for disk in disks} == {expected}


def test_unicast(network, large_image, tmp_path):
    path, expected = large_image
    disk = tmp_path / "disk"
    server = [*program("frisbeed"), "-i", network.server, "-m", network.client(0)]
    client = [*program("frisbee"), "-i", network.client(0), "-m", network.server]
    port = ["-p", str(network.port)]
    with subprocess.Popen([*server, *port, str(path)], stderr=subprocess.PIPE) as serving:
        try:
            wait_for(serving, "Serving")
            done = subprocess.run([*client, *port, str(disk)], capture_output=True, timeout=45)
        finally:
            serving.terminate()
    assert done.returncode == 0
    assert _hash(disk) == expected


@pytest.mark.parametrize("name", ["frisbeed", "frisbee"])
@pytest.mark.parametrize("options", [[], ["-i", "127.0.0.1"], ["-T", "0"]])
def test_unicast_to_oneself_is_refused_at_once(image, tmp_path, name, options):
    place = {"frisbeed": image, "frisbee": tmp_path / "disk"}[name]
    line = [*program(name), *options, "-m", "127.0.0.1", "-p", "9"]
    done = subprocess.run([*line, str(place)], capture_output=True, timeout=45, text=True)
    assert done.returncode == 255
    assert done.stderr.startswith("127.0.0.1 is both -m and our own address: ")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "disk").exists()


def test_a_client_may_come_before_its_server(network, image, tmp_path):
    client = network.start_client(0, tmp_path / "disk")
    wait_for(client, "Bound to")
    with network.serving(image):
        client.communicate(timeout=45)
    assert client.returncode == 0


@pytest.mark.parametrize("group", [True, False], ids=["same group", "other group"])
def test_a_port_in_use_is_noticed(network, image, group):
    other = Network()
    other.server, other.port = network.server, network.port
    other.group = network.group if group else other.group
    line = [*program("frisbeed"), "-i", other.server, *other.session, str(image)]
    with network.serving(image):
        second = subprocess.run(line, capture_output=True, text=True, timeout=50)
    assert second.returncode == errno.EADDRINUSE
    assert (
        f"Bind to {network.server}:{network.port} failed: Address already in use" in second.stderr
    )


def test_clients_of_a_port_do_not_keep_a_server_from_it(network, image, tmp_path):
    with network.serving(image, "-W", "1000000"):
        client = network.start_client(0, tmp_path / "disk", "-T", "1")
        wait_for(client, "Joined")
    with network.serving(image, "-W", "1000000"):
        client.kill()
        client.communicate()


def test_a_range_gives_the_next_free_port_and_says_which(network, image):
    ready, writing = os.pipe()
    line = [*program("frisbeed"), "-i", network.server, "-m", network.group]
    line += ["-A", f"/dev/fd/{writing}", str(image), "-p", f"{network.port}-{network.port + 20}"]
    with (
        network.serving(image),
        subprocess.Popen(line, pass_fds=[writing], stderr=subprocess.PIPE) as second,
        os.fdopen(ready, "rb") as told,
    ):
        try:
            os.close(writing)
            where = told.read()
            assert where.endswith(b"\n\0")
            group, port = where[:-2].decode().split(":")
            assert group == network.group
            assert network.port < int(port) <= network.port + 20
            assert f"Serving {image} on {group}:{port}" in wait_for(second, "Serving")
        finally:
            second.terminate()
            said = second.communicate()[1]
    assert second.returncode == 0, said


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a link away")
def test_the_address_is_written_through_no_link_of_a_stranger_s(network, image, tmp_path):
    (tmp_path / "precious").write_text("precious")
    told = tmp_path / "address"
    told.symlink_to("precious")
    os.chown(told, 4001, 4001, follow_symlinks=False)
    line = [*program("frisbeed"), "-i", network.server, *network.session, "-A", str(told)]
    done = subprocess.run([*line, str(image)], capture_output=True, text=True, timeout=50)
    assert done.returncode == 255
    assert f"Cannot write the address: {told}: is a link that another user made" in done.stderr
    assert (tmp_path / "precious").read_text() == "precious"


def test_a_missing_image_is_named(network, tmp_path):
    line = [*program("frisbeed"), "-i", network.server, *network.session, str(tmp_path / "none")]
    done = subprocess.run(line, capture_output=True, text=True, timeout=50)
    assert done.returncode == 255
    assert done.stderr == f"Cannot read {tmp_path}/none: No such file or directory\n"


def test_clients_give_up_on_a_dead_server(network, large_image, tmp_path):
    with network.serving(large_image[0], "-W", "2000000") as server:
        clients = [network.start_client(n, tmp_path / f"disk{n}", "-T", "1") for n in range(3)]
        for each in clients:
            wait_for(each, "Joined")
        server.kill()
        said = [each.communicate(timeout=45)[1].decode() for each in clients]
    assert [each.returncode for each in clients] == [errno.ETIMEDOUT] * 3
    assert all("*** No messages from server after 1 seconds, exiting" in text for text in said)


def test_a_client_gives_up_on_an_absent_server(network, tmp_path):
    ((status, said),) = network.load([tmp_path / "disk"], "-T", "1")
    assert status == errno.ETIMEDOUT
    assert "*** No messages from server after 1 seconds, exiting" in said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_end_a_client_at_once(network, tmp_path, number):
    client = network.start_client(0, tmp_path / "disk")
    wait_for(client, "Bound to")
    client.send_signal(number)
    client.communicate(timeout=50)
    assert client.returncode == -number


@pytest.mark.parametrize(
    ("number", "status", "last"),
    [
        (signal.SIGINT, 0, "Exiting!"),
        (signal.SIGTERM, 0, "Exiting!"),
        (signal.SIGHUP, 1, "Caught signal 1. Exiting ..."),
    ],
)
def test_signals_end_a_server_in_an_orderly_way(network, image, number, status, last):
    with network.serving(image) as server:
        server.send_signal(number)
        server.wait(10)
    assert server.returncode == status
    assert server.said.splitlines()[-1] == last


def test_a_server_ends_when_its_clients_are_gone_if_asked_to(network, image, tmp_path):
    with network.serving(image, "-T", "-1") as server:
        assert network.load([tmp_path / "disk"])[0][0] == 0
        assert server.wait(10) == 0
    assert "Last client left!" in server.said


def _rewrite(path):
    with path.open("r+b") as file:
        file.seek(5000)
        file.write(b"!")


def _append(path):
    with path.open("ab") as file:
        file.write(bytes(1 << 20))


def _cut(path):
    os.truncate(path, 4096)


def _copy_over(path):
    path.write_bytes(path.read_bytes()[::-1])


@pytest.mark.parametrize("change", [_rewrite, _append, _cut, _copy_over])
@pytest.mark.parametrize("is_busy", [True, False], ids=["busy", "idle"])
def test_an_image_that_is_written_to_is_served_no_longer(
    network, large_image, tmp_path, change, is_busy
):
    path, _ = large_image
    with network.serving(path, "-W", "2000000") as server:
        if is_busy:
            client = network.start_client(0, tmp_path / "disk", "-T", "1")
            wait_for(client, "Joined")
        change(path)
        assert server.wait(10) == 1
        if is_busy:
            client.communicate(timeout=45)
            assert client.returncode == errno.ETIMEDOUT
    assert server.said == f"{path} was changed while it was served: it is served no longer\n"


def test_an_image_whose_name_another_takes_is_served_on(network, large_image, tmp_path):
    path, expected = large_image
    with network.serving(path) as server:
        (tmp_path / "new").write_bytes(b"another")
        (tmp_path / "new").replace(path)
        assert network.load([tmp_path / "disk"])[0][0] == 0
        assert server.poll() is None
    assert _hash(tmp_path / "disk") == expected
