"""What the README prints does what it says: each of its blocks is run here, as it is printed."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from emulated import start_testbed

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text()
BLOCKS = [block.rstrip() for block in re.findall(r"(?m)(?<=\n\n)(?:    .*\n)+", TEXT)]
pytestmark = [pytest.mark.testbed, pytest.mark.timeout(300)]

is_root = pytest.mark.skipif(os.getuid() != 0, reason="needs root")
# What installs on the very machine is run where tools/clean-root has made one for it.
throwaway = pytest.mark.skipif(
    "THROWAWAY_MACHINE" not in os.environ, reason="changes the machine: tools/clean-root"
)
# Blocks by how they begin, with where they are run.
IN_A_TESTBED = "rhubarbe-load -i fedora"
BY_CLEAN_ROOT = "sh tools/demo  "
ON_A_MACHINE = {
    "umask 022": ROOT,
    "rhubarbe-ramdisk build --output /tftpboot": Path("/"),
}
ANYWHERE = {
    "rhubarbe-testbed --nodes 12": [],
    "rhubarbe-testbed --hosts 20": [is_root, pytest.mark.full, pytest.mark.alone],
    "rhubarbe-testbed --machines 2": [is_root, pytest.mark.full, pytest.mark.alone],
    "rhubarbe-testbed --machines 3": [is_root, pytest.mark.full, pytest.mark.alone],
    "rhubarbe-ramdisk build --with udp-receiver": [is_root, pytest.mark.full, pytest.mark.alone],
    "sh tools/demo --machines": [is_root, pytest.mark.full, pytest.mark.alone],
}


def block_of(beginning):
    """Return the one block that begins so, without what indents it."""
    (block,) = [block for block in BLOCKS if block.strip().startswith(beginning)]
    return re.sub(r"(?m)^    ", "", block)


def run(script, directory, shell="sh", **environ):
    done = subprocess.run(
        [shell, "-ec", script],
        cwd=directory,
        env=os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"} | environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def testbed(tmp_path_factory):
    """Twelve nodes, and an image that is called as the one in the README."""
    testbed = start_testbed(
        tmp_path_factory.mktemp("readme"), "--nodes", "12", "--boot-time", "0.7"
    )
    images = testbed.directory / "images"
    (images / "fedora.ndz").hardlink_to((images / "sample.ndz").resolve())
    yield testbed
    testbed.end()
    shutil.rmtree(testbed.directory, ignore_errors=True)


def test_every_block_is_run_somewhere():
    run_here = {block_of(beginning) for beginning in (*ANYWHERE, *ON_A_MACHINE)}
    run_here |= {block_of(IN_A_TESTBED), block_of(BY_CLEAN_ROOT)}
    assert len(run_here) == len(BLOCKS)


def test_what_an_experimenter_types(testbed):
    run(block_of(IN_A_TESTBED), testbed.directory, **testbed.environ())
    assert (testbed.directory / "mywork.ndz").exists()


@pytest.mark.parametrize(
    "beginning", [pytest.param(key, marks=marks) for key, marks in ANYWHERE.items()]
)
@pytest.mark.timeout(1800)
def test_what_is_tried_out(beginning, tmp_path):
    # umask 002 is Debian 13's for ordinary users
    run(f"umask 002\n{block_of(beginning)}", ROOT if beginning.startswith("sh tools") else tmp_path)


@throwaway
@is_root
@pytest.mark.parametrize("beginning", ON_A_MACHINE)
@pytest.mark.timeout(900)
def test_what_installs(beginning):
    installed = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    run(block_of(beginning), ON_A_MACHINE[beginning], PATH=installed)


def test_the_functions_for_a_shell(testbed):
    source, words = re.findall(r"`(\. \$\(command.*?\)|all-nodes; [^`]*)`", TEXT)
    testbed.run("rhubarbe-off", "2-12")
    script = f"{source}; {words}"
    assert "Selection: fit01\n" in run(script, testbed.directory, "bash", **testbed.environ())


def test_the_line_that_completes(testbed):
    line = re.search(r'`(eval "\$\(rhubarbe-completion [^`]*)`', TEXT)[1]
    script = f"{line}; complete -p rhubarbe-load; complete -p rhubarbe-main.py"
    assert "rhubarbe-load" in run(script, testbed.directory, "bash", **testbed.environ())
