"""Real packets between hosts, with loss, late comers, sleepers and the dead."""

import hashlib
import re
import signal
import subprocess
import sys
import threading

import pytest
from namespaces import Switch, missing
from programs import program, wait_for

pytestmark = [pytest.mark.full, pytest.mark.timeout(60)]


@pytest.fixture
def switch(request):
    if missing():
        pytest.skip(missing())
    with Switch(request.param) as switch:
        yield switch


def _end(clients):
    said = [each.communicate(timeout=40)[1].decode() for each in clients]
    assert [each.returncode for each in clients] == [0] * len(clients), said
    return said


def _hashes(disks):
    return {hashlib.sha256(disk.read_bytes()).hexdigest() for disk in disks}


@pytest.mark.parametrize(
    ("switch", "loss"),
    [(1, 0), (1, 0.05), (4, 0), (4, 0.01), (4, 0.05), (8, 0), (8, 0.01), (8, 0.05)],
    indirect=["switch"],
)
def test_every_disk_is_what_the_image_says(switch, loss, large_image, tmp_path):
    path, expected = large_image
    numbers = range(1, len(switch.hosts))
    disks = [tmp_path / f"disk{number}" for number in numbers]
    if loss:
        switch.lose(loss)
    with switch.serving(path, "-W", "100000000") as server:
        clients = [
            switch.client(n, disk, "-T", "20") for n, disk in zip(numbers, disks, strict=True)
        ]
        said = _end(clients)
    assert _hashes(disks) == {expected}
    assert all("No trains" not in text for text in said)
    sent = int(re.search(r"1k blocks sent:    (\d+)", server.said)[1])
    assert sent >= 6 * 1024
    if loss:
        assert "partial req/blks:  0/0" not in server.said
    assert sent < 4 * 6 * 1024


@pytest.mark.parametrize(
    ("switch", "options", "combines"),
    [(4, [], True), (8, [], True), (4, ["--no-parity"], False)],
    indirect=["switch"],
)
def test_repairs_are_combined(switch, options, combines, large_image, tmp_path):
    path, expected = large_image
    numbers = range(1, len(switch.hosts))
    disks = [tmp_path / f"disk{number}" for number in numbers]
    switch.lose(0.03)
    switch.count_combined()
    with switch.serving(path, "-W", "30000000", *options):
        _end([switch.client(n, disk, "-T", "20") for n, disk in zip(numbers, disks, strict=True)])
    assert _hashes(disks) == {expected}
    assert (switch.combined() > 0) == combines


UNMARKED = """
import sys
from rhubarbe.frisbee import client, fetching

fetching.marked = lambda packet: packet
sys.exit(client.main())
"""


@pytest.mark.parametrize("switch", [4], indirect=True)
def test_none_is_combined_while_a_client_has_not_said_that_it_understands_it(
    switch, large_image, tmp_path
):
    path, expected = large_image
    disks = [tmp_path / f"disk{number}" for number in range(1, 5)]
    switch.lose(0.03)
    switch.count_combined()
    with switch.serving(path, "-W", "30000000") as server:
        other = switch.client(1, disks[0], "-T", "20", instead=[sys.executable, "-c", UNMARKED])
        wait_for(other, "Joined")
        other.send_signal(signal.SIGSTOP)
        _end([switch.client(number, disks[number - 1], "-T", "20") for number in (2, 3, 4)])
        assert switch.combined() == 0
        other.send_signal(signal.SIGCONT)
        _end([other])
    assert "partial req/blks:  0/0" not in server.said
    assert _hashes(disks) == {expected}


@pytest.mark.parametrize("switch", [2], indirect=True)
def test_what_was_received_with_loss_is_verified_on_the_disk(switch, large_image, tmp_path):
    path, expected = large_image
    disks = [tmp_path / "file", tmp_path / "disk"]
    disks[1].write_bytes(bytes(8601600))
    switch.lose(0.05)
    with switch.serving(path, "-W", "100000000"):
        said = _end(
            [
                switch.client(1, disks[0], "-T", "20", "--verify"),
                switch.client(2, disks[1], "-T", "20", "--verify", "--as-device", "-f"),
            ]
        )
    assert all(re.search(r"^Verified 8601600 bytes", text, re.M) for text in said)
    assert _hashes(disks) == {expected}


@pytest.mark.parametrize("switch", [4], indirect=True)
def test_one_late_one_stopped_one_killed(switch, large_image, tmp_path):
    path, expected = large_image
    disks = [tmp_path / f"disk{number}" for number in range(1, 5)]
    switch.lose(0.01)
    with switch.serving(path, "-W", "20000000"):
        first, stopped, killed = (switch.client(n, disks[n - 1], "-T", "20") for n in (1, 2, 3))
        for each in (first, stopped, killed):
            wait_for(each, "Joined")
        stopped.send_signal(signal.SIGSTOP)
        resume = threading.Timer(2.0, stopped.send_signal, [signal.SIGCONT])
        resume.start()
        killed.kill()
        killed.communicate()
        late = switch.client(4, disks[3], "-T", "20")
        _end([first, stopped, late])
        resume.join()
        # What was asked for before the last left may still be on its way; the dead ask for no more.
        sent = [switch.datagrams_sent()]
        while len(sent) < 2 or sent[-1] != sent[-2]:
            assert len(sent) < 6, sent
            threading.Event().wait(0.5)
            sent.append(switch.datagrams_sent())
        assert sent[-1] - sent[0] < 1024, "more than a chunk"
    assert _hashes([disks[0], disks[1], disks[3]]) == {expected}


@pytest.mark.parametrize("switch", [1], indirect=True)
def test_the_address_of_the_route_is_taken_without_an_interface(switch, large_image, tmp_path):
    path, expected = large_image
    with switch.serving(path, "-W", "100000000"):
        host = switch.hosts[1]
        options = ["-m", switch.group, "-p", str(switch.port), "-T", "20", str(tmp_path / "disk")]
        switch.run(host, *program("frisbee"), *options)
    assert _hashes([tmp_path / "disk"]) == {expected}


@pytest.mark.timeout(150)
@pytest.mark.parametrize("switch", [2], indirect=True)
@pytest.mark.parametrize(("options", "status"), [((), 0), (("-K", "0"), 110)])
def test_a_switch_that_forgets_its_members_is_reminded(
    switch, large_image, tmp_path, options, status
):
    switch.forget(2)
    disks = [tmp_path / f"disk{number}" for number in (1, 2)]
    with switch.serving(large_image[0], "-W", "10000000", *options):
        clients = [switch.client(n, disks[n - 1], "-T", "8", *options) for n in (1, 2)]
        said = [each.communicate(timeout=50)[1] for each in clients]
    assert [each.returncode for each in clients] == [status] * 2, said
    assert status or _hashes(disks) == {large_image[1]}


@pytest.mark.parametrize("switch", [2], indirect=True)
@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("away", [Switch.without_interface, Switch.with_another_interface])
def test_an_interface_may_go_and_come_back(switch, large_image, tmp_path, number, away):
    disks = [tmp_path / f"disk{number}" for number in (1, 2)]
    with switch.serving(large_image[0], "-W", "8000000") as server:
        clients = [switch.client(n, disks[n - 1], "-T", "20") for n in (1, 2)]
        for each in clients:
            wait_for(each, " bytes)\n.")  # the first chunk
        affected = clients[number - 1] if number else server
        with away(switch, number):
            wait_for(affected, f"No packet to {switch.group} leaves now")
        _end(clients)
    assert _hashes(disks) == {large_image[1]}


@pytest.mark.parametrize("switch", [1], indirect=True)
def test_without_any_way_to_the_group_nobody_waits(switch, tmp_path):
    with switch.without_interface(1):
        client = switch.client(1, tmp_path / "disk")
        said = client.communicate(timeout=10)[1]
    assert client.returncode not in {0, 110}
    assert said.count(b"\n") < 5


@pytest.mark.parametrize("switch", [3], indirect=True)
def test_clients_that_ask_a_master_server_by_name(switch, large_image, tmp_path):
    """Two of them in one session by multicast, one by itself."""
    path, expected = large_image
    options = ["-d", "-W", "100000000", "--anybody", str(path.parent)]
    asked = [[], ["--verify"], ["-X", "ucast"]]
    disks = [tmp_path / f"disk{number}" for number in range(len(asked))]
    path.chmod(0o644)
    with switch.started(0, "mfrisbeed", *options, stderr=subprocess.PIPE) as master:
        try:
            assert b"Answering at 10.98.0.1:64494" in master.stderr.readline()
            name = ["-S", "10.98.0.1", "-F", path.stem, "-T", "20"]
            _end(
                [
                    switch.started(
                        number, "frisbee", *words, *name, str(disk), stderr=subprocess.PIPE
                    )
                    for number, (words, disk) in enumerate(zip(asked, disks, strict=True), 1)
                ]
            )
        finally:
            master.terminate()
            said = master.stderr.read().decode()
    assert _hashes(disks) == {expected}
    served = re.findall(r"is served at ([0-9.]+):(21001|21002)\n", said)
    assert len({port for _, port in served}) == len(served) == 2
    groups, (alone,) = (
        [where for where, _ in served if where.startswith(start)] for start in ("234.5.7.", "10.")
    )
    assert (len(groups), alone) == (1, "10.98.0.4")
