"""What the client tells, refuses and checks, as a user runs it."""

import json
import subprocess

import pytest
from images import KEY, UUID, signed_image
from programs import Network, change_behind, program

from rhubarbe.frisbee.client import main


@pytest.fixture
def network():
    return Network()


@pytest.fixture
def signed(tmp_path):
    """A signed image of four chunks, its key, and the disk it makes."""
    image, disk = signed_image(4)
    path, key = tmp_path / "signed.ndz", tmp_path / "key"
    path.write_bytes(image)
    key.write_text(KEY)
    return path, key, disk


def _run(network, disk, *options):
    """Run a client; return status, standard output and standard error."""
    pipes = {"stdout": subprocess.PIPE, "text": True}
    with network.start_client(0, disk, *options, **pipes) as process:
        try:
            out, said = process.communicate(timeout=45)
        finally:
            process.kill()
    return process.returncode, out, said


def test_programs_are_told_the_same_as_people(network, large_image, tmp_path):
    disk = tmp_path / "disk"
    with network.serving(large_image[0], "-W", "300000000"):
        status, out, said = _run(network, disk, "--json", "--verify")
    events = [json.loads(line) for line in out.splitlines()]
    assert status == 0
    names = [event["event"] for event in events]
    assert names[0] == "Joined"
    assert set(names[1:-2]) == {"Progress"}
    assert names[-2:] == ["Verified", "Finished"]
    assert all(event["time"].count(":") == 3 for event in events)
    assert (events[0]["chunks"], events[0]["bytes"]) == (6, 6 << 20)
    last = events[-3]
    assert (last["chunks_done"], last["chunks_left"], last["bytes_effective"]) == (6, 0, 8601600)
    assert (events[-2]["bytes"], events[-2]["from_disk"]) in [(8601600, True), (8601600, False)]
    finished = events[-1]
    assert (finished["ok"], finished["exit_status"], finished["chunks"]) == (True, 0, 6)
    assert (finished["bytes_effective"], finished["bytes_actual"]) == (8601600, 8601600)
    assert f"ID is {events[0]['client']}." in said
    assert "Wrote 8601600 bytes" in said


def test_programs_are_told_what_failed(network, tmp_path):
    status, out, said = _run(network, tmp_path / "disk", "--json", "-T", "1")
    (failed,) = [json.loads(line) for line in out.splitlines()]
    assert status == failed["exit_status"] == 110
    assert (failed["event"], failed["ok"]) == ("Failed", False)
    assert failed["error"] == said.splitlines()[-1]


def test_progress_is_told_some_times_a_second(capfd):
    from rhubarbe.frisbee.report import Events

    events = Events(1)
    for number in range(1000):
        events.progress(number / 1000, 1000 - number)
    events.progress(1.0, 0)
    left = [json.loads(line)["chunks_left"] for line in capfd.readouterr().out.splitlines()]
    assert left == [1000, 750, 500, 250, 0]


@pytest.mark.parametrize(
    ("clients", "options"), [(3, []), (3, ["-O"]), (1, ["-C", "4"]), (1, ["-z"])], ids=str
)
def test_a_disk_that_is_too_small_is_left_as_it_was(
    network, large_image, tmp_path, clients, options
):
    disks = [tmp_path / f"disk{number}" for number in range(clients)]
    for disk in disks:
        disk.write_bytes(b"\xaa" * (8601600 - 512))
    with network.serving(large_image[0], "-W", "300000000"):
        ends = network.load(disks, "--as-device", *options)
    for (status, said), disk in zip(ends, disks, strict=True):
        assert status == 1
        assert (
            f"{disk}: too small, nothing was written: write error: No space left on device "
            "(the image has data up to byte 8601600, the disk ends at 8601088)"
        ) in said
        assert disk.read_bytes() == b"\xaa" * (8601600 - 512)


def test_a_file_that_is_copied_onto_too_small_a_disk(network, large_image, tmp_path):
    disk = tmp_path / "disk"
    disk.write_bytes(b"\xaa" * ((6 << 20) - 1))
    with network.serving(large_image[0]):
        ((status, said),) = network.load([disk], "--as-device", "-N")
    assert status == 1
    assert "too small, nothing was written" in said
    assert disk.read_bytes() == b"\xaa" * ((6 << 20) - 1)


def test_a_file_that_is_copied_onto_a_disk_leaves_the_rest(network, large_image, tmp_path):
    path, disk = large_image[0], tmp_path / "disk"
    disk.write_bytes(b"\xaa" * (7 << 20))
    with network.serving(path, "-W", "300000000"):
        ((status, _),) = network.load([disk], "--as-device", "-N", "--verify")
    assert status == 0
    assert disk.read_bytes() == path.read_bytes() + b"\xaa" * (1 << 20)


def test_a_pipe_gets_the_disk_in_order(network, signed):
    path, _, expected = signed
    line = [*program("frisbee"), "-i", network.client(0), *network.session, "-C", "1", "-"]
    with network.serving(path, "-W", "300000000"):
        done = subprocess.run(line, capture_output=True, timeout=45)
    assert done.returncode == 0
    assert done.stdout == expected


def test_a_file_that_changes_behind_the_client_is_noticed(network, large_image, tmp_path):
    disk = tmp_path / "disk"
    disk.write_bytes(bytes(8601600))
    options = ["--as-device", "--verify", "--json", "-q"]
    with (
        network.serving(large_image[0], "-W", "20000000"),
        network.start_client(0, disk, *options, stdout=subprocess.PIPE) as client,
    ):
        try:
            changed = change_behind(client, disk, 1400 << 10, 200 << 10)
            said = client.communicate(timeout=45)[1].decode()
        finally:
            client.kill()
    assert client.returncode == 1
    assert f"verify error: chunk {changed}, in sectors {changed * 2800} to" in said
    assert "Left the team" not in said


def test_an_image_with_the_right_uuid_and_signature(network, signed, tmp_path):
    path, key, expected = signed
    with network.serving(path):
        ((status, _),) = network.load([tmp_path / "disk"], "-u", UUID, "-c", str(key))
    assert status == 0
    assert (tmp_path / "disk").read_bytes() == expected


@pytest.mark.parametrize("option", ["-u", "-c"])
def test_an_image_that_is_not_the_expected_one_is_not_written(network, signed, tmp_path, option):
    path, key, _ = signed
    disk = tmp_path / "disk"
    disk.write_bytes(b"\xaa" * (1 << 20))
    image = bytearray(path.read_bytes())
    for chunk in range(4):
        image[(chunk << 20) + 5000] ^= 1
    path.write_bytes(image)
    value = "f" * 32 if option == "-u" else str(key)
    with network.serving(path):
        ((status, said),) = network.load([disk], "--as-device", option, value)
    assert status == 1
    assert "Incorrect Image ID in chunk" in said or "its signature is not that of this key" in said
    assert disk.read_bytes() == b"\xaa" * (1 << 20)


def _disk_with_slices(path):
    """An MBR with slice 1 of type 0x83 at sector 2048, 4 MiB long, on 8 MiB."""
    sector = bytearray(512)
    entry = bytes([0, 0, 0, 0, 0x83, 0, 0, 0]) + (2048).to_bytes(4, "little")
    sector[446:462] = entry + (8192).to_bytes(4, "little")
    sector[510:] = b"\x55\xaa"
    path.write_bytes(sector.ljust(8 << 20, b"\0"))


@pytest.mark.parametrize("options", [[], ["-f"]], ids=["cached", "direct"])
def test_a_slice_gets_the_image_and_its_type(network, signed, tmp_path, options):
    path, _, expected = signed
    disk = tmp_path / "disk"
    _disk_with_slices(disk)
    with network.serving(path):
        ((status, said),) = network.load([disk], "-s", "1", "-D", "0x07", "--verify", *options)
    assert status == 0
    assert "Set partition 1 type to 0x0007" in said
    content = disk.read_bytes()
    assert content[450] == 7
    assert content[1 << 20 :][: len(expected)] == expected


def test_a_type_that_cannot_be_set_is_refused_before_anything_is_written(network, signed, tmp_path):
    disk = tmp_path / "disk"
    _disk_with_slices(disk)
    before = disk.read_bytes()
    with network.serving(signed[0]):
        ((status, said),) = network.load([disk], "-s", "1", "-D", "0xEE")
    assert status == 1
    assert "P1 cannot become 0xEE" in said
    assert disk.read_bytes() == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("-e key", "option -e: encrypted images use an obsolete cipher"),
        ("-E x", "option -E: events are not sent"),
        ("-U x", "option -U: traces are not kept"),
    ],
)
def test_an_option_of_the_original_that_is_refused_says_why(options, message, capfd):
    assert main([*options.split(), "-m", "234.5.6.1", "-p", "9", "/dev/null"]) == 1
    said = capfd.readouterr().err
    assert said.startswith(f"rhubarbe-frisbee: {message}")
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("-D 7 /dev/null", "-D sets the type of a slice: -s is needed"),
        ("-D 0 -s 1 /dev/null", "option -D: '0' is not a number from 1 to 255"),
        ("-N -s 1 /dev/null", "-s is for images"),
        ("-N -c key /dev/null", "-c is for images"),
        ("-N -", "neither -N nor --json goes with -"),
        ("--json -", "neither -N nor --json goes with -"),
        ("-u 12 /dev/null", "option -u: '12' is not a UUID"),
        ("--manifest x --manifest-digest 123 /dev/null", "64 hexadecimal digits are wanted"),
        (f"--manifest x --manifest-digest {'g' * 64} /dev/null", "64 hexadecimal digits"),
        ("--manifest 10.0.0.1:7 /dev/null", "--manifest-digest, which is missing"),
        (f"--manifest h:0 --manifest-digest {'0' * 64} /dev/null", "there is no port 0"),
        (f"--manifest-digest {'0' * 64} /dev/null", "--manifest is needed with it"),
    ],
)
def test_what_the_client_cannot_understand(line, message, capfd):
    assert main([*line.split(), "-m", "234.5.6.1", "-p", "9"]) == 1
    assert message in capfd.readouterr().err


def test_help_names_every_option(capsys):
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    for letter in "bdfnNOqtziSkTKCWMRIrsDucmp":
        assert f"-{letter}" in shown.split("\n\n")[1], letter
    for name in ("as-device", "force", "verify", "json", "help", "version"):
        assert f"--{name}" in shown
    assert all(len(line) <= 100 for line in shown.splitlines())


def test_where_no_packet_can_go_is_said(network, tmp_path):
    line = [*program("frisbee"), "-i", network.client(0), "-p", "40009", "-m", "255.255.255.255"]
    done = subprocess.run([*line, str(tmp_path / "disk")], capture_output=True, text=True)
    assert done.returncode == 255
    assert done.stderr.splitlines()[-1].startswith("Cannot send to 255.255.255.255:40009: ")
