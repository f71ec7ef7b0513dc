"""Completion as somebody types it: real shells, on a terminal."""

import os
import pty
import re
import select
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from emulated import BIN

ROOT = Path(__file__).parents[2]
WITHIN = 60
PROMPT = "ready> "

STARTS = {
    "bash": ["bash", "--norc", "--noprofile", "-i"],
    "zsh": ["zsh", "-f", "-i"],
}
SETTINGS = {
    "bash": ["bind 'set enable-bracketed-paste off'"],
    "zsh": [
        "unsetopt prompt_cr prompt_sp zle_bracketed_paste",
        "autoload -Uz compinit",
        "compinit -D",
    ],
}

# What is typed, and the words that the command then gets.
TYPED = [
    ("rhubarbe-load -i ubu\t", ["-i", "ubuntu-24.04"]),
    ("rhubarbe-load -i mywo\t fit4\t", ["-i", "mywork", "fit41"]),
    ("rhubarbe-load --no-r\t 4\t fit03\t", ["--no-reset", "41", "fit03"]),
    ("rhubarbe-wait fit4\t", ["fit41"]),
    ("rhubarbe-save -o x fit4\t", ["-o", "x", "fit41"]),
    ("rhubarbe-save -o myw\t", ["-o", "mywork.ndz"]),
    ("rhubarbe-share defa\t", ["default"]),
    ("rhubarbe-config pxe\t", ["pxelinux"]),
    ("rhubarbe-main.py inven\t", ["inventory"]),
    ("rhubarbe-main.py load --image ubu\t", ["load", "--image", "ubuntu-24.04"]),
    ("rhubarbe inven\t", ["inventory"]),
    ("rhubarbe load --image ubu\t fit4\t", ["load", "--image", "ubuntu-24.04", "fit41"]),
    ("rhubarbe help inven\t", ["help", "inventory"]),
    ("rhubarbe imagedu\t", ["imagedump"]),
    ("rhubarbe-nodes --fo\t 1 fit4\t", ["--fold", "1", "fit41"]),
]


class Shell:
    """A shell on a terminal, in which our commands only print the words that they get."""

    def __init__(self, name, home):
        environ = {
            "PATH": f"{BIN}:/usr/bin:/bin",
            "HOME": str(home),
            "RHUBARBE_CONF": str(home / "site.conf"),
            "TERM": "dumb",
            "LANG": "C.UTF-8",
        }
        main, side = pty.openpty()
        self._terminal = main
        self._process = subprocess.Popen(
            STARTS[name],
            stdin=side,
            stdout=side,
            stderr=side,
            env=environ,
            cwd=home,
            start_new_session=True,
        )
        os.close(side)
        self._text = ""
        self._type(f"PS1='ready''> '; PS2=; {'; '.join(SETTINGS[name])}\n")
        self._until(PROMPT)
        self.run(f'eval "$(rhubarbe-completion {name})"')
        commands = sorted({typed.split()[0] for typed, _ in TYPED})
        self.run("; ".join(f"{each}() {{ printf '<%s>' \"$@\"; echo; }}" for each in commands))

    def _type(self, text):
        os.write(self._terminal, text.encode())

    def _until(self, mark):
        """Return what is shown up to a mark."""
        deadline = time.monotonic() + WITHIN
        while mark not in self._text:
            left = deadline - time.monotonic()
            assert left > 0, f"no {mark!r} within {WITHIN} s: {self._text!r}"
            if select.select([self._terminal], [], [], left)[0]:
                self._text += os.read(self._terminal, 4096).decode(errors="replace")
        shown, _, self._text = self._text.partition(mark)
        return shown

    def run(self, line):
        """Type a line, and return what is shown until the next prompt."""
        self._type(line + "\n")
        return self._until(PROMPT)

    def first_word(self, line):
        """Type a line, and return the first word that the command gets.

        The prompt may come several times: it is drawn again below a list of what could be meant.
        """
        self._type(line + "\n")
        self._until("<")
        word = self._until(">")
        self._until(PROMPT)
        return word

    def end(self):
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(10)
        os.close(self._terminal)


@pytest.fixture
def site(tmp_path):
    """A home with images in and out of the repository, and the inventory of the sample."""
    images = tmp_path / "images"
    images.mkdir()
    for name in ("fedora-41", "ubuntu-24.04"):
        (images / f"{name}.ndz").touch()
    (images / "default.ndz").symlink_to("fedora-41.ndz")
    (tmp_path / "mywork.ndz").touch()
    conf = tmp_path / "site.conf"
    conf.write_text(
        f"[testbed]\ninventory_path = {ROOT}/inventory.json.sample\n"
        f"[frisbee]\nimages_dir = {images}\n"
    )
    conf.chmod(0o600)
    return tmp_path


@pytest.mark.full
@pytest.mark.timeout(180)
@pytest.mark.parametrize("name", STARTS)
def test_a_tab_completes_verbs_options_nodes_and_images(site, name):
    assert shutil.which(name), f"{name} is among the packages"
    shell = Shell(name, site)
    try:
        # Many words could be meant by an empty one: none is taken.
        assert shell.first_word("rhubarbe-wait \tfit4\t") == "fit41"
        got = {typed: re.findall(r"<([^<>]*)>", shell.run(typed)) for typed, _ in TYPED}
    finally:
        shell.end()
    assert got == dict(TYPED)


@pytest.mark.parametrize("shell", STARTS)
def test_the_script_is_printed_without_any_configuration(shell, tmp_path):
    made = subprocess.run(
        [BIN / "rhubarbe-completion", shell],
        env=os.environ | {"HOME": str(tmp_path), "RHUBARBE_CONF": "/dev/null/none"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "_rhubarbe_verb rhubarbe-load" in made.stdout.replace("-F ", "")
    checked = subprocess.run(
        ["bash", "-n"], input=made.stdout, capture_output=True, text=True, timeout=60, check=False
    )
    assert shell != "bash" or checked.stderr == ""
