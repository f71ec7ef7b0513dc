"""What a person at a terminal sees of long work, and what other programs read instead."""

import contextlib
import os
import pty
import re
import signal
import subprocess
import sys
import threading

import pytest

from rhubarbe.imaging.progress import UnzipDots, ZipDots

MIB = 1 << 20
CODE = "import sys; from rhubarbe.imaging.{} import main; sys.exit(main())"
WITHOUT_BARS = "import sys; sys.modules['progressbar'] = None\n" + CODE
ESCAPES = re.compile(r"\x1b\[[0-9;]*m")


class Terminal:
    """A program whose standard error is a terminal of 80 columns; `text` is what it shows."""

    def __init__(self, program, *arguments, code=CODE, **options):
        self.text = ""
        self._master, slave = pty.openpty()
        command = [sys.executable, "-c", code.format(program), *map(str, arguments)]
        environment = os.environ | {"TERM": "xterm", "COLUMNS": "80"}
        self.child = subprocess.Popen(command, stderr=slave, env=environment, **options)
        os.close(slave)
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self):
        with contextlib.suppress(OSError):  # a terminal that nobody holds any more
            while data := os.read(self._master, 65536):
                self.text += data.decode()

    def end(self):
        """Wait for the end; return exit status and lines, of redrawn ones each state."""
        status = self.child.wait(timeout=30)
        self._reader.join()
        os.close(self._master)
        text = ESCAPES.sub("", self.text).replace("\r\n", "\n")
        return status, [line.split("\r") for line in text.split("\n")]


@pytest.fixture
def image(tools, programs, tmp_path):
    """A sealed image of nine chunks, and the disk that it is of."""
    disk = tmp_path / "disk.img"
    disk.write_bytes(tools.noise(8 * MIB))
    programs.zip("-r", disk, tmp_path / "image.ndz")
    return tmp_path / "image.ndz", disk


BAR = re.compile(r" *\d+% \|#* *\| +[\d.]+ \w+/s (ETA: |Time:) +[\d:-]+")


@pytest.mark.parametrize("program", ["imagezip", "imageunzip"])
def test_a_bar_with_percent_rate_and_time_to_go(program, image, tmp_path):
    path, disk = image
    arguments = ["-r", disk, path] if program == "imagezip" else [path, tmp_path / "out.img"]
    status, (states, *rest) = Terminal(program, *arguments).end()
    assert status == 0
    states = [state for state in states if state]
    assert all(BAR.fullmatch(state) for state in states), states
    assert states[0].startswith("  0%")
    assert "ETA:" in states[0]
    assert states[-1].startswith("100%")
    assert not any("%" in state for line in rest for state in line)


@pytest.mark.parametrize("program", ["imagezip", "imageunzip"])
def test_dots_where_no_bar_can_be_drawn(program, image, tmp_path):
    path, disk = image
    arguments = ["-r", disk, path] if program == "imagezip" else [path, tmp_path / "out.img"]
    status, lines = Terminal(program, *arguments, code=WITHOUT_BARS).end()
    assert status == 0
    assert lines[0][0].startswith("........")
    assert not any("%" in state for line in lines for state in line)


def test_no_full_bar_where_the_work_failed(image, tmp_path):
    path, _ = image
    data = bytearray(path.read_bytes())
    data[3 * MIB + 9999] ^= 1
    path.write_bytes(data)
    status, lines = Terminal("imageunzip", path, tmp_path / "out.img").end()
    assert status == 1
    assert not any("100%" in state for line in lines for state in line)
    assert [f"imageunzip: {path}: chunk 3: its bytes are not those that were sealed"] in lines


@pytest.mark.parametrize("option", ["-o", "-O"])
def test_dots_where_they_are_asked_for(option, image, tmp_path):
    status, lines = Terminal("imageunzip", option, image[0], tmp_path / "out.img").end()
    assert status == 0
    assert lines[0][0].startswith("........." if option == "-o" else "    ")
    assert not any("%" in state for line in lines for state in line)


def test_an_interrupt_ends_the_line_of_dots(tmp_path):
    """From a pipe that stays open: the work is under way for as long as it takes."""
    image = tmp_path / "image.ndz"
    terminal = Terminal("imagezip", "-or", "-", image, stdin=subprocess.PIPE)
    with contextlib.suppress(BrokenPipeError):
        while "." not in terminal.text:
            terminal.child.stdin.write(os.urandom(MIB))
            terminal.child.stdin.flush()
    terminal.child.send_signal(signal.SIGINT)
    status, lines = terminal.end()
    terminal.child.stdin.close()
    assert status == -signal.SIGINT
    assert lines[-1] == [""]
    assert not image.exists()


def test_no_bar_and_no_dots_for_other_programs(image, tmp_path):
    command = [sys.executable, "-c", CODE.format("imageunzip"), image[0], tmp_path / "out.img"]
    done = subprocess.run(command, capture_output=True, check=True)
    assert re.match(rb"Decompressed \d+ bytes, wrote ", done.stderr)


def test_the_line_of_imagezip_ends_after_61_dots(capsys):
    dots = ZipDots()
    for number in range(1, 64):
        dots.advance(number * 1000)
    dots.finish()
    lines = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"\.{61}        61000    [01]", lines[0])
    assert lines[1:] == [".."]


def test_the_line_of_imageunzip_ends_after_67_dots(capsys):
    dots = UnzipDots(chunks=True, gigabytes=False)
    for number in range(1, 70):
        dots.advance(number * 1000, remaining=100 - number)
    dots.finish()
    lines = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"\.{67}   [01]     33", lines[0])
    assert re.fullmatch(r"\.\. {65}   [01]      0", lines[1])


def test_dots_that_stop_end_their_line(capsys):
    for dots in (ZipDots(), UnzipDots(chunks=True, gigabytes=False)):
        dots.stop()
        assert capsys.readouterr().err == ""
        dots.advance(5)
        dots.stop()
        assert capsys.readouterr().err == ".\n"
