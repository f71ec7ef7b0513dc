"""What the demo and the tests are run with: which python3, and whose checkout it is."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

TOOLS = Path(__file__).parent.parent / "tools"
SOURCE = '. "${0%/*}/environment.sh"; echo "$python"'
DEBIANS = "/usr/bin/python3"
# It may read what it needs; writing is another matter.
BECOME_ALICE = (
    *("setpriv", "--reuid=4001", "--regid=4001", "--clear-groups"),
    *("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"),
    *("--securebits=+no_setuid_fixup", "--"),
)


def has_debians():
    can = [DEBIANS, "-c", "import ensurepip, sys; sys.exit(sys.version_info < (3, 11))"]
    return Path(DEBIANS).exists() and subprocess.run(can, capture_output=True).returncode == 0


@pytest.fixture
def checkout(tmp_path):
    shutil.copytree(TOOLS, tmp_path / "checkout" / "tools")
    return tmp_path / "checkout"


def source(checkout, *become, path=os.environ["PATH"]):
    """Source the file, as the demo does; return the status, and what was said."""
    done = subprocess.run(
        [*become, "sh", "-c", SOURCE, str(checkout / "tools" / "demo")],
        env=os.environ | {"PATH": path},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_the_user_s_own_python_is_taken(checkout):
    assert source(checkout) == (0, "python3\n")


@pytest.mark.skipif(not has_debians(), reason="without Debian's python3-venv")
@pytest.mark.parametrize("lacks", ["version_info", "sqlite3", "ensurepip"])
def test_debian_s_is_taken_where_that_is_too_old_or_lacks_a_module(checkout, lacks):
    (checkout / "python3").write_text(
        f'#!/bin/sh\ncase "$*" in *{lacks}*) exit 1;; esac\nexec {DEBIANS} "$@"\n'
    )
    (checkout / "python3").chmod(0o755)
    assert source(checkout, path=f"{checkout}:{os.environ['PATH']}") == (0, f"{DEBIANS}\n")


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be another user")
@pytest.mark.parametrize("made", [".venv", "demo", "build", "rhubarbe.egg-info"])
def test_what_root_made_in_a_user_s_checkout_is_told(checkout, made):
    os.chown(checkout, 4001, 4001)
    assert source(checkout, *BECOME_ALICE) == (0, "python3\n")
    (checkout / made).mkdir()
    status, said = source(checkout, *BECOME_ALICE)
    there = checkout.resolve() / made
    assert (status, said) == (1, f"demo: {there} is not yours; as root: rm -r {there}\n")
