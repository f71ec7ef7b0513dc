"""What is missing or busy on the gateway is said before any node is touched."""

import signal
import subprocess

import pytest
from emulated import events, wait_for_event

pytestmark = [pytest.mark.testbed, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    from emulated import start_testbed

    testbed = start_testbed(tmp_path_factory.mktemp("pair"), "--nodes", "2", "--boot-time", "0.5")
    yield testbed
    testbed.end()


def with_setting(testbed, tmp_path, name, value):
    """Return a configuration that differs in one setting."""
    lines = (testbed.directory / "rhubarbe.conf").read_text().splitlines()
    conf = tmp_path / "rhubarbe.conf"
    conf.write_text(
        "\n".join(f"{name} = {value}" if line.startswith(f"{name} =") else line for line in lines)
    )
    return {"RHUBARBE_CONF": str(conf)}


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("server", "no-such-server", "no-such-server: no such program"),
        ("frisbee_image", "no-such-entry", "no-such-entry: no such boot entry"),
        ("state_dir", "/dev/null/state", "cannot keep locks there"),
    ],
)
def test_found_before_any_node_is_touched(pair, tmp_path, name, value, says):
    before = pair.log()
    loaded = pair.run("rhubarbe-load", "1-2", **with_setting(pair, tmp_path, name, value))
    assert loaded.returncode == 1
    assert says in loaded.stderr
    assert len(loaded.stderr.splitlines()) == 1
    assert pair.log() == before
    assert pair.links() == []


def test_two_commands_on_overlapping_nodes(pair):
    first = pair.start("rhubarbe-load", "--json", "-b", "10", "1-2", stderr=subprocess.DEVNULL)
    with first:
        try:
            wait_for_event(first, "Progress")
            refused = pair.run("rhubarbe-load", "2")
            assert refused.returncode == 1
            assert f"load (pid {first.pid}, since" in refused.stderr
            assert "% of the image: nothing was touched" in refused.stderr
            first.send_signal(signal.SIGSTOP)  # however slow the others are, it is not over
            for second in (["rhubarbe-load", "2"], ["rhubarbe-save", "2", "-o", "other"]):
                refused = pair.run(*second)
                assert refused.returncode == 1
                assert f"(pid {first.pid}), which does not answer: nothing" in refused.stderr
            first.send_signal(signal.SIGCONT)
            patient = pair.run("rhubarbe-load", "--json", "--wait-for-lock", "40", "2")
            assert events(first.communicate(timeout=30)[0])[-1]["good"] == "1-2"
            assert first.returncode == 0
            assert patient.returncode == 0
        finally:
            first.kill()


@pytest.mark.full
def test_no_library_speaks_between_our_lines(pair):
    waited = pair.run("rhubarbe-wait", "-v", "1-2")
    assert waited.stderr == ""
    assert all(
        line[:9].count(":") == 2 or line.startswith(("node ", "fit", "good", "rhubarbe-wait"))
        for line in waited.stdout.splitlines()
    )


def test_images_are_listed_once_within_the_repository(pair):
    listed = subprocess.run(
        ["rhubarbe-images"],
        cwd=pair.directory / "images",
        env=pair.environ(RHUBARBE_CONF=str(pair.directory / "rhubarbe.conf")),
        capture_output=True,
        text=True,
        check=True,
        timeout=20,
    ).stdout
    assert listed.count("sample") == 1
