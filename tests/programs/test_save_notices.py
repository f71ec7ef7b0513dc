"""What a save tells of its image: the comment, the stamp, and what is one machine's own."""

import json
import re
import shutil

import pytest
from emulated import PARTITION, start_testbed, tool, wait_for_event

pytestmark = [pytest.mark.testbed, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def single(tmp_path_factory):
    testbed = start_testbed(tmp_path_factory.mktemp("single"), "--nodes", "1", "--boot-time", "0.5")
    conf = testbed.directory / "rhubarbe.conf"
    conf.write_text(re.sub(r"(?m)^silence_timeout = .*$", "", conf.read_text()))
    conf.write_text(conf.read_text().replace("[nodes]\n", "[nodes]\nsilence_timeout = 8\n"))
    yield testbed
    testbed.end()
    shutil.rmtree(testbed.directory, ignore_errors=True)


def write(testbed, files):
    """Put files onto the disk of the node."""
    content = testbed.directory / "content"
    for path, text in files.items():
        content.write_text(text)
        parts = path.split("/")[:-1]
        requests = [f"mkdir {'/'.join(parts[: end + 1])}" for end in range(len(parts))]
        for request in (*requests, f"rm {path}", f"write {content} {path}"):
            tool("debugfs", "-w", "-R", request, f"{testbed.disk('fit01')}?offset={PARTITION}")


def comment_of(testbed, name):
    told = json.loads(testbed.run("rhubarbe-images", "--json", "--long", name).stdout)
    return [image["saved"]["comment"] for each in told for image in each["images"]]


def test_what_is_one_machine_s_own_is_told(single):
    clean = single.run("rhubarbe-save", "-o", "clean", "1")
    assert clean.returncode == 0, clean.stdout
    assert "machine's own" not in clean.stdout
    assert "not looked for" not in clean.stdout
    write(
        single,
        {
            "etc/machine-id": "0123456789abcdef0123456789abcdef\n",
            "etc/ssh/ssh_host_rsa_key": "PRIVATE",
            "etc/ssh/ssh_host_ed25519_key": "PRIVATE",
            "var/lib/systemd/random-seed": "random",
        },
    )
    saved = single.run("rhubarbe-save", "-o", "used", "1")
    assert saved.returncode == 0, saved.stdout
    told = (
        "used.ndz holds what should be one machine's own: machine-id, 2 ssh host keys,"
        " a random seed; nodes loaded with it will share them"
    )
    assert saved.stdout.count(told) == 1
    assert saved.stdout.index("Saved image") < saved.stdout.index(told)


@pytest.mark.full
@pytest.mark.parametrize(
    "comment",
    ["x" * 480, "'" * 1500, "\U0001f600" * 900, "it's \\n; `touch canary` $(touch canary) " * 60],
)
def test_a_long_comment_is_kept_whole(single, comment):
    comment = comment.strip()
    name = f"long{len(comment)}"
    saved = single.run("rhubarbe-save", "-o", name, "-c", comment, "1")
    assert saved.returncode == 0, saved.stdout
    assert "comment" not in saved.stdout
    assert comment_of(single, name) == [comment]


@pytest.mark.full
def test_a_comment_that_cannot_be_kept_as_it_is_is_told(single):
    saved = single.run("rhubarbe-save", "-o", "cut", "-c", "two\nlines " + "x" * 5000, "1")
    assert saved.returncode == 0, saved.stdout
    assert "the comment is kept without its control characters" in saved.stdout
    (comment,) = comment_of(single, "cut")
    assert re.fullmatch(r"two lines x{3800,4000}", comment)


def replace_program(testbed, name, script):
    """Have a program of the ramdisk be a script, until what is returned is called."""
    program = testbed.directory / "ramdisk" / "bin" / name
    kept = program.with_name(f"kept-{name}")
    program.rename(kept)
    program.write_text(f"{kept.read_text().splitlines()[0]}\n{script}\n")
    program.chmod(0o755)
    return lambda: kept.rename(program)


@pytest.mark.full
@pytest.mark.parametrize(
    ("name", "script", "reason"),
    [
        ("hangs", "sleep 600", "no end of it in 8 s|said nothing for 8 s"),
        ("babbles", "while echo still busy >/dev/tty; do sleep 0.3; done", "no end of it in 8 s"),
        ("fails", "exit 3", "ended with status 1"),
    ],
)
def test_a_lost_stamp_is_told_and_fails_no_save(single, name, script, reason):
    undo = replace_program(single, "debugfs", script)
    try:
        saved = single.run("rhubarbe-save", "-o", name, "-c", "mine", "1")
    finally:
        undo()
    assert saved.returncode == 0, saved.stdout
    where = r" on \S+ \(root_partition in \[frisbee\]\)"
    told = re.search(
        rf"fit01: no stamp: /etc/rhubarbe-image could not be written{where}: (.*)", saved.stdout
    )
    assert re.search(reason, told.group(1))
    assert single.run("rhubarbe-images", "--check", name).returncode == 0


@pytest.mark.full
def test_a_node_that_dies_after_its_stamp_is_a_bad_node_and_leaves_no_image(single):
    with single.start("rhubarbe-save", "--json", "-o", "dies", "1") as saving:
        while wait_for_event(saving, "PhaseDone")["phase"] != "stamp":
            pass
        single.ask_card("fit01", "off")
        said = [json.loads(line) for line in saving.stdout]
        assert saving.wait(60) == 1
    failed = next(event for event in said if event["event"] == "NodeFailed")
    assert failed["phase"] == "image"
    assert not (single.directory / "dies.ndz").exists()


@pytest.mark.full
def test_an_image_that_cannot_be_looked_into_is_told_and_fails_no_save(single):
    """What is on the disk is a filesystem that the gateway does not read."""
    disk = single.disk("fit01")
    kept = disk.with_name("kept")
    shutil.copyfile(disk, kept)
    try:
        with disk.open("r+b") as raw:
            raw.seek(PARTITION + 1024 + 56)
            raw.write(b"XX")
        saved = single.run("rhubarbe-save", "-o", "other", "1", RHUBARBE_CONF=none(single))
    finally:
        shutil.copyfile(kept, disk)
    assert saved.returncode == 0, saved.stdout
    told = "what it holds of one machine only was not looked for: "
    assert saved.stdout.count(told) == 1, saved.stdout
    assert "no root on an ext2, ext3 or ext4 filesystem" in saved.stdout


def none(testbed):
    """Return a configuration without a root partition."""
    conf = testbed.directory / "none.conf"
    text = (testbed.directory / "rhubarbe.conf").read_text()
    conf.write_text(re.sub(r"(?m)^root_partition = .*$", "root_partition = none", text))
    conf.chmod(0o600)
    return str(conf)
