"""A save that goes wrong: exit code 1, a reason that names it, and no file under the final name."""

import json
import os
import re
import signal
import socket
import subprocess
import textwrap

import pytest
from emulated import events, start_testbed, wait_for_event, wait_until

pytestmark = [pytest.mark.testbed, pytest.mark.timeout(180)]

MIB = 1 << 20
SECRET = 32  # bytes before the image
SENT = 3 * MIB
# Stands for netcat on the node; the image goes on when the test makes the file `go`.
PAUSES = f"""
    {{ head -c {SECRET + SENT}; while [ ! -e go ]; do sleep 0.05; done; cat; }} | nc "$@"
"""
STOPS = f"""
    {{ head -c {SECRET + SENT}; sleep 600; }} | nc "$@"
"""


@pytest.fixture(scope="module")
def single(tmp_path_factory):
    testbed = start_testbed(tmp_path_factory.mktemp("single"), "--nodes", "1", "--boot-time", "0.5")
    loaded = testbed.run("rhubarbe-load", "1")  # more than there was
    assert loaded.returncode == 0, loaded.stdout
    yield testbed
    testbed.end()


@pytest.fixture
def site(single):
    """A testbed with its configuration as it was, and none of the files of the tests before."""
    conf = single.directory / "rhubarbe.conf"
    text = conf.read_text()
    yield single
    conf.write_text(text)
    for path in (*single.directory.glob("mine*"), home(single) / "go"):
        path.unlink(missing_ok=True)


def home(testbed):
    return testbed.directory / "nodes" / "fit01"


def configure(testbed, name, value):
    conf = testbed.directory / "rhubarbe.conf"
    conf.write_text(re.sub(rf"(?m)^{name} = .*$", f"{name} = {value}", conf.read_text()))


def send_by(testbed, script):
    """Have the node send its image by a script instead of netcat."""
    bash = (testbed.directory / "ramdisk" / "bin" / "nc").read_text().splitlines()[0]
    program = testbed.directory / "ramdisk" / "bin" / "sender"
    program.write_text(f"{bash}\nset -o pipefail\n{textwrap.dedent(script)}")
    program.chmod(0o755)
    configure(testbed, "netcat", "sender")


def address(testbed):
    return json.loads((testbed.directory / "inventory.json").read_text())[0]["control"]["ip"]


def assert_failed(testbed, code, output, reason):
    assert code == 1, output
    assert re.search(rf"^bad: 1 \(image: .*{reason}.*\)$", output, re.M), output
    assert "Traceback" not in output
    assert not (testbed.directory / "mine.ndz").exists()
    assert testbed.links() == []
    refused = testbed.run("rhubarbe-load", "-i", "mine", "1")
    assert refused.returncode == 1
    assert "mine" in refused.stderr


def start_save(testbed):
    return testbed.start("rhubarbe-save", "--json", "-o", "mine", "1", stderr=subprocess.DEVNULL)


def arrived(testbed):
    partial = testbed.directory / "mine.ndz.partial"
    return partial.exists() and partial.stat().st_size >= SENT


def whole(testbed):
    return testbed.run("rhubarbe-imagedump", "--check", "mine.ndz").returncode == 0


def test_a_file_that_may_not_grow(site):
    command = "ulimit -f 4096; exec rhubarbe-save -o mine 1"  # KiB, of which the image has more
    saved = site.run("bash", "-c", command)
    assert_failed(site, saved.returncode, saved.stdout, "mine.ndz.partial: the image cannot be")
    assert "cannot be written: File too large" in saved.stdout


@pytest.mark.full
def test_a_full_disk(site, tmp_path):
    if (
        os.getuid()
        or subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", tmp_path], check=False
        ).returncode
    ):
        pytest.skip("needs to mount a small disk, as root")
    try:
        saved = site.run("rhubarbe-save", "-o", tmp_path / "mine", "1")
        assert not (tmp_path / "mine.ndz").exists()
        assert_failed(site, saved.returncode, saved.stdout, "mine.ndz.partial: the image cannot be")
        assert "cannot be written: No space left on device" in saved.stdout
        assert "may not fit" in saved.stdout
        assert list(tmp_path.iterdir()) == []
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def test_a_node_that_stops_sending(site):
    send_by(site, STOPS)
    configure(site, "silence_timeout", "2")
    saved = site.run("rhubarbe-save", "-o", "mine", "1")
    assert_failed(site, saved.returncode, saved.stdout, "the node said nothing for 2 s")


def test_a_node_that_loses_its_power(site):
    send_by(site, STOPS)
    with start_save(site) as process:
        wait_for_event(process, "CollectorReady")
        wait_until(lambda: arrived(site))
        site.ask_card("fit01", "off")
        (failure,) = of_kind(process, "NodeFailed")
    site.ask_card("fit01", "on")
    assert process.returncode == 1
    assert failure["phase"] == "image"
    assert re.search("telnet session was cut|stopped within chunk", failure["reason"])
    assert not (site.directory / "mine.ndz").exists()


def of_kind(process, name):
    return [one for one in events(process.communicate(timeout=60)[0]) if one["event"] == name]


@pytest.mark.parametrize(
    ("length", "reason"),
    [
        (SECRET, r"imagezip made \d+ bytes, 0 arrived"),
        (SECRET + 2 * MIB, rf"imagezip made \d+ bytes, {2 * MIB} arrived"),
        (SECRET + 2 * MIB + 5, "the image stopped within chunk 2"),
    ],
)
def test_a_sender_that_sends_a_part_and_says_that_all_is_well(site, length, reason):
    # It reads all, so that imagezip sees nothing of it.
    send_by(site, f'{{ head -c {length} | nc "$@"; }}; cat | tail -c 1 | wc -c; true\n')
    saved = site.run("rhubarbe-save", "-o", "mine", "1")
    assert_failed(site, saved.returncode, saved.stdout, reason)


def test_a_collector_that_dies(site):
    """With the command, of which it is a part."""
    send_by(site, STOPS)
    with start_save(site) as process:
        wait_for_event(process, "CollectorReady")
        wait_until(lambda: arrived(site))
        process.kill()
        process.communicate(timeout=30)
    assert process.returncode == -signal.SIGKILL
    wait_until(lambda: site.links() == [])
    assert [path.name for path in site.directory.glob("mine*")] == ["mine.ndz.partial"]
    refused = site.run("rhubarbe-load", "-i", "mine", "1")
    assert refused.returncode == 1
    assert "there is only" in refused.stderr
    configure(site, "netcat", "nc")
    again = site.run("rhubarbe-save", "-o", "mine", "1")
    assert again.returncode == 0, again.stdout
    assert whole(site)


def test_a_node_that_sends_from_another_address(site):
    send_by(site, 'NODE_IP=127.0.0.9 exec nc "$@"\n')
    saved = site.run("rhubarbe-save", "-o", "mine", "1")
    words = f"a sender at 127.0.0.9 was turned away: the image comes from {address(site)}"
    assert_failed(site, saved.returncode, saved.stdout, words)


@pytest.mark.parametrize("words", [b"", b"0" * 20, b"0" * SECRET, b"x" * MIB])
def test_who_comes_before_the_node_and_from_its_address_keeps_nobody_out(site, words):
    """It does not know the secret, which is told to nobody: no process, no output, no log."""
    node = address(site)
    log = site.directory / "rhubarbe.log"
    log.unlink(missing_ok=True)
    with start_save(site) as process:
        ready = wait_for_event(process, "CollectorReady")
        with socket.create_connection(
            (ready["address"], ready["port"]), 10, source_address=(node, 0)
        ) as first:
            first.sendall(words)
            output = process.communicate(timeout=60)[0]
    assert process.returncode == 0, output
    told = [one["text"] for one in events(output) if one["event"] == "Notice"]
    assert told[:1] == [f"a sender at {node} was turned away: it has not sent the secret first"]
    assert whole(site)
    written = output + log.read_text(errors="replace")
    assert not re.search(r"\b[0-9a-f]{32}\b", written)


def test_a_sender_that_does_not_know_the_secret(site):
    send_by(site, 'tail -c +33 | nc "$@"\n')
    saved = site.run("rhubarbe-save", "-o", "mine", "1")
    assert_failed(site, saved.returncode, saved.stdout, "it has not sent the secret first")


@pytest.mark.parametrize("stranger", ["another machine", "the node again"])
def test_who_comes_in_between_is_named_and_spoils_nothing(site, stranger):
    send_by(site, PAUSES)
    source = "127.0.0.9" if stranger == "another machine" else address(site)
    with start_save(site) as process:
        ready = wait_for_event(process, "CollectorReady")
        wait_until(lambda: arrived(site))
        with socket.create_connection(
            (ready["address"], ready["port"]), 10, source_address=(source, 0)
        ) as between:
            (home(site) / "go").touch()
            (notice,) = of_kind(process, "Notice")
            assert between.recv(1) == b""
    assert f"sender at {source} was turned away" in notice["text"]
    assert process.returncode == 0
    assert whole(site)
