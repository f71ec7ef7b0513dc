"""What is typed into the ramdisk's shell cannot surprise; what comes back is understood."""

import os
import pty
import selectors
import shlex
import shutil
import signal
import stat
import subprocess
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rhubarbe import dialogue
from rhubarbe.dialogue import (
    Ended,
    FrisbeeTranscript,
    ImagezipTranscript,
    Line,
    Percent,
    Transcript,
    last_stamp,
    script,
    stamp,
)
from rhubarbe.text import LONGEST_LINE, sanitise

SECRET = "0123456789abcdeffedcba9876543210"
PROOF = dialogue.Proof("10.0.0.9:5", "ab12")
DATA = Path(__file__).parent / "data" / "ramdisk"
HOSTILE = [
    'it\'s "quoted" `touch canary` $(touch canary) ${HOME}',
    "'; touch canary; echo '",
    "\\n \\c \\0101 %s %d",
    "a\nb\r\nc; touch canary\n",
    "\x03\x04\x1b[2J\x1b]0;title\x07\x00\x7f",
    "-n",
    "-e > canary || && | < ~ * ? ! # { }",
    "'" * 200,
    "été 日本 \u202e\u2028",
    "",
]
hostile = st.text(
    st.one_of(
        st.sampled_from("'\"`$();&|<>\\!#*?~{}[] \t\n\r\x00\x03\x04\x1b%-"),
        st.characters(exclude_categories=["Cs"]),
    ),
    max_size=80,
)


# -- what is typed


@pytest.mark.parametrize(
    ("mounts", "is_ramdisk"),
    [
        ("rootfs / rootfs rw 0 0\nproc /proc proc rw 0 0\n", True),
        ("none / tmpfs rw 0 0\n", True),
        ("/dev/ram0 / ext2 rw 0 0\n", True),
        ("rootfs / rootfs rw 0 0\n/dev/loop0 / squashfs ro 0 0\n", True),
        ("rootfs / rootfs rw 0 0\n/dev/sdb1 /scratch ext4 rw 0 0\n", True),
        ("rootfs / rootfs rw 0 0\n/dev/sda2 /mnt ext4 rw 0 0\n", False),
        ("proc /proc proc rw 0 0\n/dev/sda1 / ext4 rw 0 0\n", False),
        ("/dev/mapper/vg-root / ext4 rw 0 0\n", False),
        ("/dev/root / ext4 rw 0 0\n", False),
        ("/dev/nvme0n1p2 / btrfs rw 0 0\nrootfs /x rootfs rw 0 0\n", False),
    ],
)
def test_a_ramdisk_is_told_from_a_system_on_a_disk(tmp_path, mounts, is_ramdisk):
    shell = Shell(tmp_path, {"show": "#!/bin/sh\n"})
    (tmp_path / "mounts").write_text(mounts)
    command = dialogue.require_ramdisk("/dev/sda").replace("/proc/mounts", "mounts")
    answer = shell.type(script(command))
    assert answer.endswith(f"{dialogue.STATUS_MARK}{0 if is_ramdisk else 1}\n")
    assert is_ramdisk is ("this is no ramdisk" not in answer)


FAKE_DEBUGFS = """\
#!/bin/sh
for device; do :; done
case "$*" in
    -R*dump*) [ -f "$device" ] && cat "$device" > stamp ;;
    *'rm /etc'*) rm -f "$device" ;;
    *write*) [ -f "$device" ] || cat stamp > "$device" ;;
    -R*cat*) cat "$device" ;;
esac
"""


class Shell:
    """A real /bin/sh with next to nothing on its path."""

    def __init__(self, root, programs):
        self.root = root
        self.path = root / "bin"
        (root / "mnt" / "etc").mkdir(parents=True)
        self.path.mkdir()
        for name, text in programs.items():
            (self.path / name).write_text(text)
            (self.path / name).chmod(stat.S_IRWXU)
        for name in ("cat", "rm", "grep", "tail"):
            (self.path / name).symlink_to(shutil.which(name))

    def type(self, text):
        done = subprocess.run(
            ["/bin/sh"],
            input=text.encode(),
            cwd=self.root,
            env={"PATH": str(self.path), "HOME": "/"},
            capture_output=True,
            timeout=50,
            check=False,
        )
        return (done.stdout + done.stderr).decode(errors="replace")

    def calls(self):
        return (self.root / "calls").read_text().split()


MOUNTING = {
    "mount": '#!/bin/sh\necho mount "$@" >> calls\n',
    "umount": '#!/bin/sh\necho umount "$@" >> calls\n',
}


@pytest.fixture(scope="module")
def with_mount(tmp_path_factory):
    return Shell(tmp_path_factory.mktemp("mount"), MOUNTING)


@pytest.fixture(scope="module")
def with_debugfs(tmp_path_factory):
    return Shell(tmp_path_factory.mktemp("debugfs"), {"debugfs": FAKE_DEBUGFS})


def stamped(shell, file, words):
    line = f"2026-03-19@10:24:05 - node fit04 - {sanitise(words, dialogue.LONGEST_STAMP)}"
    answer = shell.type(script(stamp("disk'1", "mnt", line)))
    assert answer.splitlines()[-1] == f"{dialogue.STATUS_MARK}0"
    assert (shell.root / file).read_bytes().splitlines()[-1].decode() == line
    assert not (shell.root / "canary").exists()


@pytest.mark.parametrize("words", HOSTILE)
def test_hostile_words_are_stamped_as_they_are(with_mount, with_debugfs, words):
    stamped(with_mount, "mnt/etc/rhubarbe-image", words)
    stamped(with_debugfs, "disk'1", words)


@settings(max_examples=40)
@given(words=hostile)
def test_any_words_are_stamped_as_they_are(with_mount, words):
    stamped(with_mount, "mnt/etc/rhubarbe-image", words)


@settings(max_examples=15)
@given(words=hostile)
def test_any_words_are_stamped_without_mount(with_debugfs, words):
    stamped(with_debugfs, "disk'1", words)


LONG = ["x" * 480, "'" * 1200, "\U0001f600" * 900, "it's \\n `long` $(touch canary); " * 60]


@pytest.mark.parametrize("words", LONG)
def test_long_words_are_stamped_as_they_are(with_mount, with_debugfs, words):
    stamped(with_mount, "mnt/etc/rhubarbe-image", words)
    stamped(with_debugfs, "disk'1", words)


@given(words=st.text(st.sampled_from("x'\U0001f600 \\$"), max_size=5000))
def test_no_typed_line_is_longer_than_shells_take(words):
    typed = script(f"echo {shlex.quote(words)}").split("\n")
    assert max(len(line.encode()) for line in typed) <= 900


def typed_on_a_terminal(shell, text):
    """Type text, all at once, on the terminal of an interactive shell; return what it shows."""
    process, terminal = pty.fork()
    if not process:
        os.execvp(shell[0], shell)
    os.set_blocking(terminal, False)
    shown, left = b"", text.encode()
    with selectors.DefaultSelector() as selector:
        selector.register(terminal, selectors.EVENT_READ | selectors.EVENT_WRITE)
        while events := selector.select(20):
            if events[0][1] & selectors.EVENT_READ:
                try:
                    shown += os.read(terminal, 1 << 16)
                except OSError:  # the shell has ended
                    break
            elif left:
                left = left[os.write(terminal, left) :]
            else:
                selector.modify(terminal, selectors.EVENT_READ)
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    os.close(terminal)
    return shown.decode(errors="replace")


@pytest.mark.parametrize("words", LONG)
@pytest.mark.parametrize(
    "shell",
    [
        shell
        for shell in (["sh", "-i"], ["bash", "--norc", "-i"], ["busybox", "ash", "-i"])
        if shutil.which(shell[0])
    ],
    ids=" ".join,
)
def test_a_terminal_loses_nothing_of_long_words(tmp_path, shell, words):
    """busybox's line editor takes 1023 bytes, a terminal of Linux 4095."""
    command = f"printf %s {shlex.quote(words)} > {shlex.quote(str(tmp_path / 'words'))}"
    transcript = Transcript()
    shown = typed_on_a_terminal(shell, script(command))
    assert Ended(0) in transcript.feed(shown), shown
    assert (tmp_path / "words").read_text() == words


def test_stamps_are_added_to_those_before(tmp_path):
    shell = Shell(tmp_path, {"debugfs": FAKE_DEBUGFS})
    for words in ("one", "two"):
        shell.type(script(stamp("disk", "mnt", words)))
    assert (tmp_path / "disk").read_text() == "one\ntwo\n"
    assert not (tmp_path / "stamp").exists()


# What stamps may hold, as bytes that others wrote.
STAMPS = [
    b"one\ntwo: it's; $(touch canary) \\n %s\n",
    b"without an end of line",
    b"one\n",
    b"",
    b"\n",
    b"one\r\ntwo\r\n",
    b"one\rtwo\n",
    b"\x1b]0;title\x07\x1b[2Jtwo\ttabs \x9b1m\n",
    b"\xff\xfe \xc3\xa9t\xc3\xa9\n",
    b"long " * 500 + b"\n",
    b"  \x0c led by spaces and \x1b\x0c\n",
]


def test_stamps_differ_where_the_last_lines_do():
    assert len({last_stamp(content.decode(errors="replace")) for content in STAMPS}) == 9


def test_what_was_mounted_is_unmounted_though_it_cannot_be_stamped(tmp_path):
    shell = Shell(tmp_path, MOUNTING)
    (tmp_path / "mnt" / "etc").rmdir()
    assert f"{dialogue.STATUS_MARK}1" in shell.type(script(stamp("sda1", "mnt", "words")))
    assert shell.calls() == ["mount", "sda1", "mnt", "umount", "mnt"]


def test_what_cannot_be_mounted_is_a_failure(tmp_path):
    shell = Shell(tmp_path, MOUNTING | {"mount": "#!/bin/sh\nexit 32\n"})
    assert f"{dialogue.STATUS_MARK}32" in shell.type(script(stamp("sda1", "mnt", "words")))


def test_a_partition_that_is_not_there_is_said_by_the_real_debugfs(tmp_path):
    real = shutil.which("debugfs", path=os.environ["PATH"] + ":/usr/sbin:/sbin")
    shell = Shell(tmp_path, {"debugfs": f'#!/bin/sh\nexec {real} "$@"\n'})
    (tmp_path / "blank").write_bytes(bytes(1 << 20))
    for place, reason in (("sda5", "No such file or directory"), ("blank", "Bad magic number")):
        told = shell.type(script(stamp(place, "mnt", "words"))).splitlines()
        assert told[-1] == f"{dialogue.STATUS_MARK}1"
        assert any(reason in line and place in line for line in told)


def test_the_disk_s_name_is_quoted(tmp_path):
    shell = Shell(tmp_path, {"frisbee": '#!/bin/sh\nprintf "<%s>" "$@"\n'})
    disk = "it's; touch canary"
    answer = shell.type(
        script(
            dialogue.write_image(
                "frisbee -T 5", "10.0.0.1", "234.5.6.7", 7, disk, server="10.0.0.9", proof=PROOF
            )
        )
    )
    proof = "<--manifest><10.0.0.9:5><--manifest-digest><ab12>"
    assert f"<-T><5>{proof}<-i><10.0.0.1><-m><234.5.6.7><-p><7><-S><10.0.0.9><{disk}>" in answer
    assert answer.endswith(f"{dialogue.STATUS_MARK}0\n")


@pytest.mark.parametrize(("imagezip", "nc", "status"), [(0, 0, 0), (3, 0, 3), (0, 4, 4)])
def test_the_failure_of_either_end_of_the_pipe_is_seen(tmp_path, imagezip, nc, status):
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("bash is not installed, and this shell may have no pipefail")
    disk = tmp_path / "a disk"
    disk.write_bytes(bytes(4096))
    for name, code in (("imagezip", imagezip), ("nc", nc)):
        (tmp_path / name).write_text(f"#!/bin/sh\n[ {name} = nc ] && cat >/dev/null\nexit {code}\n")
        (tmp_path / name).chmod(stat.S_IRWXU)
    command = dialogue.read_image("imagezip", str(disk), "nc", "10.0.0.1", 7, SECRET)
    done = subprocess.run(
        [bash],
        input=script(command),
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    transcript = ImagezipTranscript()
    outputs = list(transcript.feed(done.stdout))
    assert outputs[-1] == Ended(status)
    assert transcript.disk_bytes == 4096


SHELLS = {"bash": ["bash"], "busybox": ["busybox", "ash"]}


@pytest.mark.parametrize("words", SHELLS.values(), ids=SHELLS)
def test_the_secret_goes_before_the_image_and_is_in_no_process_s_arguments(tmp_path, words):
    if shutil.which(words[0]) is None:
        pytest.skip(f"{words[0]} is not installed")
    programs = {
        "imagezip": "cat /proc/[0-9]*/cmdline >seen 2>/dev/null\nprintf IMAGE",
        "nc": "cat >sent",
    }
    for name, text in programs.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(stat.S_IRWXU)
    subprocess.run(
        words,
        input=script(dialogue.read_image("./imagezip", "disk", "./nc", "10.0.0.1", 7, SECRET)),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert (tmp_path / "sent").read_text() == f"{SECRET}IMAGE"
    assert SECRET.encode() not in (tmp_path / "seen").read_bytes()


@pytest.mark.parametrize("width", [13, 80, 1000])
def test_the_secret_is_told_to_nobody(width):
    """Whatever echoes: a terminal that folds lines, a shell that traces or complains."""
    transcript = ImagezipTranscript()
    transcript.secret = SECRET
    typed = script(dialogue.read_image("imagezip", "/dev/sda", "nc", "10.0.0.1", 7, SECRET))
    echo = "\r\n".join(typed[at : at + width] for at in range(0, len(typed), width))
    traced = f"+ printf %s {SECRET}\r\nsh: {SECRET}: not found\r\n"
    answer = f"/ # {echo}\r\n{dialogue.BEGIN_MARK}\r\n{traced}{dialogue.STATUS_MARK}1\r\n"
    outputs = heard(transcript, [answer])
    told = "".join(lines(outputs)) + transcript.last_line
    assert not any(SECRET[at : at + 8] in told for at in range(24))
    assert outputs[-1] == Ended(1)


# -- what comes back


def said(name):
    """Return what a program wrote, and its exit status, of a golden log."""
    lines = (DATA / name).read_text().splitlines()
    body = [line for line in lines[1:-1] if not line.startswith("--- std")]
    return body, int(lines[-1].split()[2]) & 0xFF


def session(body, status, end="\r\n"):
    return "".join(line + end for line in [*body, f"{dialogue.STATUS_MARK}{status}"])


def pieces(text, cuts):
    places = sorted({cut % (len(text) + 1) for cut in cuts})
    return [text[a:b] for a, b in zip([0, *places], [*places, len(text)], strict=True)]


def begun(kind, *given):
    """Return a transcript whose command has begun to speak."""
    transcript = kind(*given)
    assert list(transcript.feed(f"/ # {dialogue.BEGIN_MARK}\r\n"))
    return transcript


def heard(transcript, parts):
    return [output for part in parts for output in transcript.feed(part)]


def percents(outputs):
    return [output.value for output in outputs if isinstance(output, Percent)]


def lines(outputs):
    return [output.text for output in outputs if isinstance(output, Line)]


cutting = st.lists(st.integers(0, 10_000), max_size=40)

FRISBEE_LOGS = [
    ("s1-1client-d4.fc1.log", 99.0),
    ("s12-4clients-d2.fc1.log", 99.0),
    ("s16-dd-verbose.fc1.log", 0.0),
    ("s18-joinv1-nonimage.fc1.log", 0.0),
]


@pytest.mark.parametrize(("log", "least"), FRISBEE_LOGS)
@settings(max_examples=30)
@given(cuts=cutting)
def test_frisbee_s_words_are_understood_in_any_pieces(log, least, cuts):
    body, status = said(log)
    outputs = heard(begun(FrisbeeTranscript), pieces(session(body, status), cuts))
    *before, last = outputs
    assert last == Ended(status)
    assert not any(isinstance(output, Ended) for output in before)
    assert percents(outputs) == sorted(percents(outputs))
    assert percents(outputs)[0] == 0.0
    assert least <= percents(outputs)[-1] <= 99.0
    assert any(text.startswith("Joined the team") for text in lines(outputs))
    words = [line.strip() for line in body if line.strip(".\n ")]
    assert [" ".join(word.split()) for word in words] == lines(outputs)


LONG = [
    "Joined the team after 0 sec. ID is 7. File is 200 chunks (209715200 bytes)",
    "." * 67 + "   3    133",
    "." * 30 + "s" * 20 + "z" * 17 + "   6    103",
    "." * 67 + "   9     36",
    "." * 36,
    "",
    "Wrote 209715200 bytes (209715200 actual)",
]


@given(cuts=cutting)
@example(cuts=list(range(900)))
def test_percents_rise_and_are_99_at_most_before_the_status(cuts):
    outputs = heard(begun(FrisbeeTranscript), pieces(session(LONG, 0), cuts))
    values = percents(outputs)
    assert values == sorted(set(values))
    assert values[-1] == 99.0
    assert {33.5, 48.5, 82.0} <= set(values)
    assert outputs[-1] == Ended(0)


def test_each_dot_counts_as_it_comes():
    transcript = begun(FrisbeeTranscript)
    heard(transcript, [LONG[0] + "\n"])
    assert [percents(heard(transcript, ["."])) for _ in range(3)] == [[0.5], [1.0], [1.5]]


def test_a_line_of_counts_corrects_the_dots():
    transcript = begun(FrisbeeTranscript)
    heard(transcript, [LONG[0] + "\n"])
    assert percents(heard(transcript, ["s" * 67 + "   1    100\n"])) == [50.0]


@given(cuts=cutting)
def test_older_clients_say_percents(cuts):
    body = [f"Progress: {n:3}% {n:06} {100 - n:06}" for n in (0, 10, 10, 55, 100)]
    outputs = heard(begun(FrisbeeTranscript), pieces(session(body, 0), cuts))
    assert percents(outputs) == [10.0, 55.0, 99.0]
    assert outputs[-1] == Ended(0)


def test_closing_lines_of_two_threads_mixed_up_do_no_harm():
    body = [
        *LONG[:2],
        "Left the team after 82 on the field!",
        "Wrote 240056795136 byte seconds s (4835807232 actual)",
    ]
    assert heard(begun(FrisbeeTranscript), [session(body, 0)])[-1] == Ended(0)


@pytest.mark.parametrize(
    ("line", "refuses"),
    [
        ("dev/sda: too small, nothing was written: write error: No space left on device (a)", True),
        ("Bad Magic Number! not an ndz image: no magic in chunk 0", True),
        ("frisbee: unrecognized option '--verify'", True),
        ("frisbee: invalid option -- 'v'", True),
        ("frisbee: write error: Input/output error", False),
        ("chunk 3: damaged: its stream ends early", False),
    ],
)
def test_words_that_another_round_would_only_repeat(line, refuses):
    transcript = begun(FrisbeeTranscript)
    heard(transcript, [session(["Joined the team", line, "usage: frisbee DISK"], 1)])
    assert transcript.refusal == (line if refuses else "")
    assert transcript.last_line == "usage: frisbee DISK"


# -- the status


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\r\r\n"])
@pytest.mark.parametrize("command", ["true", "frisbee -i 1.2.3.4 disk", stamp("a", "b", "c")])
def test_the_echo_of_what_was_typed_is_not_the_status(end, command):
    echo = f"/ # {script(command)}".replace("\n", end)
    transcript = Transcript()
    assert not any(isinstance(output, Ended) for output in heard(transcript, [echo]))
    assert transcript.last_line == ""
    answer = f"{dialogue.BEGIN_MARK}{end}words{end}{dialogue.STATUS_MARK}7{end}\n"
    assert heard(transcript, [answer])[-1] == Ended(7)
    assert transcript.last_line == "words"


def test_a_status_waits_for_the_end_of_its_line():
    transcript = begun(Transcript)
    assert heard(transcript, [f"{dialogue.STATUS_MARK}1"]) == []
    assert heard(transcript, ["2", "7\r"]) == [Ended(127)]


def test_words_before_the_status_are_not_lost():
    assert heard(begun(Transcript), [f"no newline{dialogue.STATUS_MARK}0\n"]) == [
        Line("no newline"),
        Ended(0),
    ]


@pytest.mark.parametrize("rest", ["", "x", "-1", "$?", "0 or so"])
def test_what_is_no_status_is_a_line(rest):
    text = f"{dialogue.STATUS_MARK}{rest}"
    assert heard(begun(Transcript), [text + "\n"]) == [Line(text)]


def test_the_last_line_is_kept_for_who_asks_why():
    transcript = begun(Transcript)
    heard(transcript, ["first\n\x1b[1mShort write!\x1b[0m\r\n", f"{dialogue.STATUS_MARK}1\n"])
    assert transcript.last_line == "Short write!"


@given(cuts=cutting, junk=st.integers(0, 6000))
def test_a_status_is_found_after_a_line_of_any_length(cuts, junk):
    text = "x" * junk + f"{dialogue.STATUS_MARK}5\r\n"
    outputs = heard(begun(Transcript), pieces(text, cuts))
    assert outputs[-1] == Ended(5)
    assert all(len(text) <= LONGEST_LINE for text in lines(outputs))


def test_a_line_without_end_is_not_kept_in_memory():
    transcript = begun(Transcript)
    outputs = heard(transcript, ["x" * 4096] * 500)
    assert all(len(text) == LONGEST_LINE for text in lines(outputs))
    assert len(outputs) > 400
    assert len(lines(heard(transcript, ["\n"]))[0]) <= LONGEST_LINE


@example(["0\x0c\x1b\r"])
@given(st.lists(hostile, max_size=8))
def test_any_text_gives_clean_lines_and_nothing_else(texts):
    for kind in (Transcript, FrisbeeTranscript, ImagezipTranscript):
        transcript = begun(kind)
        for output in heard(transcript, texts):
            if isinstance(output, Line):
                assert output.text == sanitise(output.text)
                assert output.text


NUMBERS = ["9" * 10, "9" * 400, "9" * 5000, "-1", "nan", "1e30", "\u0661\u0662"]


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("kind", [FrisbeeTranscript, ImagezipTranscript])
def test_no_number_is_too_large_or_too_strange(kind, number):
    words = [
        f"File is {number} chunks\n",
        "File is 5 chunks\n",
        f"{'.' * 67} {number} {number}\n",
        f"Progress: {number}% 1 2\n",
        f"Verified {number} bytes\n",
        f"Image size: {number} bytes\n",
        f"{dialogue.DISK_MARK}{number}\n",
        f"{dialogue.STATUS_MARK}{number}\n",
    ]
    outputs = heard(begun(kind), words)
    assert not any(isinstance(output, Ended) for output in outputs)
    assert all(0 <= percent <= 99 for percent in percents(outputs))
    assert heard(begun(kind), [*words, f"{dialogue.STATUS_MARK}3\n"])[-1] == Ended(3)


# -- imagezip


@given(cuts=cutting)
def test_imagezip_s_sizes_are_understood_in_any_pieces(cuts):
    body, status = said("d1-default.zip.log")
    transcript = begun(ImagezipTranscript)
    text = session([f"{dialogue.DISK_MARK}33554432", *body], status)
    outputs = heard(transcript, pieces(text, cuts))
    assert outputs[-1] == Ended(0)
    assert transcript.disk_bytes == 33554432
    assert transcript.image_bytes == 4194304
    assert lines(outputs)[0] == "P2: unused, NOT SAVING."
    assert not any(text.startswith((".", dialogue.DISK_MARK)) for text in lines(outputs))
    assert "Finished in 1.860 seconds" in lines(outputs)


def test_the_echo_is_not_the_size_of_the_disk():
    transcript = ImagezipTranscript()
    typed = script(dialogue.read_image("imagezip", "/dev/sda", "nc", "10.0.0.1", 7, SECRET))
    heard(transcript, [f"/ # {typed}", f"{dialogue.BEGIN_MARK}\n{dialogue.DISK_MARK}nonsense\n"])
    assert transcript.disk_bytes is None


def test_lines_of_dots_and_counts_are_nothing_to_tell():
    transcript = begun(ImagezipTranscript)
    assert heard(transcript, ["." * 61 + "     67108864    3\r\n", "....\r\n"]) == []


def test_imagezip_s_failure_says_why():
    body, status = said("d6-default.zip.log")
    transcript = begun(ImagezipTranscript)
    outputs = heard(transcript, [session(body, status)])
    assert outputs[-1] == Ended(1)
    assert transcript.last_line == "* * * Aborting * * *"
    assert transcript.image_bytes is None


# -- other engines


def test_what_udpcast_brings_is_unzipped_and_the_first_failure_counts(tmp_path):
    programs = {
        "udp-receiver": "#!/bin/sh\nprintf image; [ $1 = good ]\n",
        "imageunzip": '#!/bin/sh\necho "$@" > called; cat > "$9"\n',
    }
    shell = Shell(tmp_path, programs)
    (tmp_path / "bash").symlink_to("/bin/bash")
    for word, status in (("good", 0), ("bad", 1)):
        write = dialogue.Unzip("imageunzip", "a disk's", PROOF)
        command = dialogue.receive_by_udpcast(f"udp-receiver {word}", write)
        answer = subprocess.run(
            ["/bin/bash"],
            input=script(command),
            cwd=tmp_path,
            env={"PATH": str(shell.path)},
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
        ).stdout
        assert answer.endswith(f"{dialogue.STATUS_MARK}{status}\n")
        assert (tmp_path / "a disk's").read_text() == "image"
    options = "-o -W 32 --manifest 10.0.0.9:5 --manifest-digest ab12"
    assert (tmp_path / "called").read_text() == f"{options} - a disk's\n"


ARIA = {
    "aria2c": '#!/bin/sh\nfor url; do :; done; echo "$url" > "it\'s/image.ndz"; exit $FAILS\n',
    "imageunzip": '#!/bin/sh\necho "$@" >> calls; shift 8; cat "$1" > "$2"\n',
}


def fetch(root, *, kind="ext2", kib=1 << 20, fails=0, size=1 << 20):
    programs = ARIA | {
        "stat": f"#!/bin/sh\necho {kind}\n",
        "grep": f"#!/bin/sh\necho 'MemAvailable:    {kib} kB'\n",
        "aria2c": ARIA["aria2c"].replace("$FAILS", str(fails)),
    }
    root.mkdir()
    (root / "it's").mkdir()
    shell = Shell.__new__(Shell)
    shell.root, shell.path = root, root / "bin"
    shell.path.mkdir()
    for name, text in programs.items():
        (shell.path / name).write_text(text)
        (shell.path / name).chmod(stat.S_IRWXU)
    for name in ("cat", "rm"):
        (shell.path / name).symlink_to(shutil.which(name))
    write = dialogue.Unzip("imageunzip", "sda", PROOF, verify=True)
    command = dialogue.fetch_by_aria2("aria2c", "http://10.0.0.1:7/x", "it's", size, write)
    return shell.type(script(command))


@pytest.mark.parametrize("kind", ["ext2", "tmpfs", "ramfs"])
def test_what_aria2_brings_is_unzipped_and_removed(tmp_path, kind):
    answer = fetch(tmp_path / "node", kind=kind)
    assert answer.endswith(f"{dialogue.STATUS_MARK}0\n")
    assert (tmp_path / "node" / "sda").read_text() == "http://10.0.0.1:7/x\n"
    assert list((tmp_path / "node" / "it's").iterdir()) == []
    options = "-o -W 32 --verify --manifest 10.0.0.9:5 --manifest-digest ab12"
    assert (tmp_path / "node" / "calls").read_text() == f"{options} it's/image.ndz sda\n"


def test_what_aria2_does_not_bring_is_not_written(tmp_path):
    answer = fetch(tmp_path / "node", fails=3)
    assert answer.endswith(f"{dialogue.STATUS_MARK}3\n")
    assert not (tmp_path / "node" / "sda").exists()
    assert list((tmp_path / "node" / "it's").iterdir()) == []


def test_an_image_that_does_not_fit_into_memory_is_refused_before_it_is_fetched(tmp_path):
    answer = fetch(tmp_path / "node", kind="tmpfs", kib=1024 + (64 << 10) - 1)
    assert "No space left on device: the image needs 66560 KiB of memory, 66559 are" in answer
    assert not (tmp_path / "node" / "sda").exists()
    transcript = begun(dialogue.AriaTranscript, 1)
    list(transcript.feed(answer))
    assert transcript.refusal.startswith("No space left")


def test_dots_of_imageunzip_become_percents_whatever_stands_between():
    transcript = begun(dialogue.UnzipTranscript, 200)
    pieces = [
        "Udp-receiver 20120424\r\n",
        "..........",
        "." * 57 + "   1      0\r\n",
        "...Transfer complete.\x07\r\n",
        "." * 67 + "   2      0\r\n",
        "." * 63 + "       3      0\r\n",
        "   3      0\r\n",
        "Verified 4096 bytes, read back from the disk itself\r\n",
        f"{dialogue.STATUS_MARK}0\r\n",
    ]
    outputs = heard(transcript, pieces)
    assert percents(outputs) == pytest.approx([5.0, 33.5, 35.0, 68.5, 99.0])
    assert lines(outputs) == [
        "Udp-receiver 20120424",
        "Transfer complete.",
        "Verified 4096 bytes, read back from the disk itself",
    ]
    assert outputs[-1] == Ended(0)
    assert transcript.verified_bytes == 4096


def test_that_all_arrived_is_no_reason_for_a_failure():
    transcript = begun(dialogue.UnzipTranscript, 200)
    heard(transcript, ["..imageunzip: write error\r\n", "..Transfer complete.\x07\r\n"])
    assert transcript.last_line == "imageunzip: write error"
    heard(transcript, ["Transfer complete.\r\n", f"{dialogue.STATUS_MARK}1\r\n"])
    assert transcript.last_line == "imageunzip: write error"


def test_aria2_and_imageunzip_go_half_of_the_way_each():
    transcript = begun(dialogue.AriaTranscript, 4)
    outputs = heard(
        transcript,
        [
            "[#2089b0 0B/0B CN:0 SD:0 DL:0B]\r",
            "[#2089b0 400.0KiB/33.2MiB(10%) CN:1 SD:1 DL:115.7KiB ETA:4m51s]\r",
            "[#2089b0 33.2MiB/33.2MiB(100%) CN:1 SD:1]\r\nDownload Results:\r\n",
            "..",
            "..      1      0\r\n",
        ],
    )
    assert percents(outputs) == [5.0, 50.0, 75.0, 99.0]
    assert lines(outputs) == ["Download Results:"]


def test_the_last_line_of_aria2_is_what_went_wrong():
    transcript = begun(dialogue.AriaTranscript, 4)
    text = (
        "\n11/25 10:43:00 [ERROR] CUID#7 - Download aborted. URI=http://10.0.0.1:7/x\n"
        "Exception: [AbstractCommand.cc:351] errorCode=1 Connection refused\n\n"
        "Download Results:\ngid   |stat|avg speed  |path/URI\n"
        "======+====+===========+======\n0152ab|ERR |       0B/s|http://10.0.0.1:7/x\n\n"
        "Status Legend:\n(ERR):error occurred.\n\n"
        "aria2 will resume download if the transfer is restarted.\n"
        "If there are any errors, then see the log file. See '-l' option in help/man page.\n"
    )
    assert len(lines(heard(transcript, [text]))) == 10
    assert transcript.last_line.endswith("errorCode=1 Connection refused")


# -- what a program says of itself

VERSIONS = {
    "rhubarbe-frisbee 0.1.0\r\nmanifest 1: blake3 blake2b": (True, ("blake3", "blake2b"), ""),
    "rhubarbe-imageunzip 0.3\r\nmanifest 1: blake2b": (True, ("blake2b",), ""),
    "rhubarbe-frisbee 9\r\nmanifest 2: blake9\r\nmanifest 1: blake3": (True, ("blake3",), ""),
    "rhubarbe-frisbee 0.1.0": (True, (), "build the ramdisk again"),
    "rhubarbe-frisbee 9.9\r\nmanifest 2: blake3": (
        True,
        (),
        "the gateway's rhubarbe, which is too",
    ),
    "frisbee: invalid option -- '-'\r\nusage: frisbee [-drzbn]": (False, (), "is not ours"),
    "bash: frisbee: command not found": (False, (), "is not ours"),
    "": (False, (), "is not ours"),
}


@pytest.mark.parametrize("words", VERSIONS)
def test_what_a_program_understands(words):
    transcript = dialogue.VersionTranscript()
    mark = f"{dialogue.BEGIN_MARK}\r\n"
    heard(transcript, [f"# {mark}{words}\r\n{dialogue.STATUS_MARK}0\r\n"])
    is_ours, manifests, lack = VERSIONS[words]
    assert (transcript.is_ours, transcript.manifests) == (is_ours, manifests)
    assert lack in transcript.lack
    assert bool(lack) == bool(transcript.lack)


@pytest.mark.parametrize("body", ["exit 3", "echo unrecognized option; exit 64", "cat; exit 0"])
def test_to_ask_for_a_version_never_fails(tmp_path, body):
    shell = Shell(tmp_path, {"frisbee": f"#!/bin/sh\n{body}\n"})
    for program in ("frisbee -T 5", "nothing --such"):
        answer = shell.type(script(dialogue.ask_version(program)))
        assert f"{dialogue.STATUS_MARK}0\n" in answer


def test_what_others_sent_is_kept_but_not_without_end():
    lines_ = [
        "Rejected 2 chunks that the manifest does not vouch for: somebody sends in the name of x",
        "Blocks are taken from 10.0.0.1 now, not from 10.0.0.66",
        *(f"Ignored what came from 10.0.0.{last}: 7 blocks, 1 reply" for last in range(2, 20)),
    ]
    transcript = begun(FrisbeeTranscript)
    heard(transcript, ["\r\n".join(["Joined the team", *lines_, "Left the team", ""])])
    assert transcript.strangers == lines_[:4]
