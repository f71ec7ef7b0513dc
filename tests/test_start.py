"""How every program starts: text in any locale, any text on any stream, and many open files."""

import fcntl
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

BIN = Path(__file__).parents[1] / "bin"
PLAIN = {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "POSIX"}
LOCALES = {
    "utf-8": {"LC_ALL": "C.UTF-8"},
    "C": {"LC_ALL": "C"},
    "ascii": PLAIN,
    "none such": {"LC_ALL": "xx_XX.UTF-9"},
}
NAMES = [b"caf\xe9", b"\x80\xff", "größer".encode(), "日本".encode() + b"\xfe"]


def started(script, *words, **options):
    """Run a few lines in a program that has started as ours do."""
    environ = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    return subprocess.run(
        [sys.executable, "-c", f"from rhubarbe.start import begin; begin()\n{script}", *words],
        env=environ | options.pop("environ", {}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        check=True,
        **options,
    )


@pytest.mark.parametrize("environ", LOCALES.values(), ids=LOCALES)
@pytest.mark.parametrize("name", NAMES)
def test_a_name_goes_through_as_it_is(environ, name, tmp_path):
    script = "import os, sys; print(sys.argv[1]); print(os.listdir(sys.argv[2])[0])"
    os.close(os.open(os.fsencode(tmp_path) + b"/" + name, os.O_CREAT))
    done = started(script, name, tmp_path, environ=environ)
    assert done.stdout == name + b"\n" + name + b"\n"


@pytest.mark.parametrize("environ", LOCALES.values(), ids=LOCALES)
def test_one_name_is_one_text_in_all_locales(environ):
    done = started("import sys; print(ascii(sys.argv[1]))", NAMES[3], environ=environ)
    assert done.stdout == rb"'\u65e5\u672c\udcfe'" + b"\n"


def test_what_a_stream_lacks_is_escaped():
    environ = {"PYTHONIOENCODING": "ascii:strict"}
    for stream in ("stdout", "stderr"):
        script = f"import sys; print('größer', '日', 'caf\\udce9', '\\ud800', file=sys.{stream})"
        done = started(script, environ=environ)
        said = done.stdout + done.stderr
        assert said == rb"gr\xf6\xdfer \u65e5 caf" + b"\xe9" + rb" \ud800" + b"\n"


def ended(act, closed, *words):
    """Run a program that does something, some of its streams closed; return its exit code."""
    script = f"""
import os, sys
from rhubarbe.start import begin, run
begin()
def program():
    {act}
    return 0
sys.exit(run(program))
"""
    command = [sys.executable, "-X", "dev", "-c", script, *words]
    line = f'exec "$@" {closed}'
    done = subprocess.run(
        ["sh", "-c", line, "-", *command], check=False, timeout=60, capture_output=True
    )
    assert b"Traceback" not in done.stderr
    return done.returncode


@pytest.mark.parametrize(
    ("act", "closed", "code"),
    [
        ("pass", "<&- >&- 2>&-", 0),
        ("print('lost')", ">&-", 1),
        ("print('lost')", "<&- >&- 2>&-", 1),
        ("print('well')", "2>&-", 0),
        ("print('lost', file=sys.stderr)", "2>&-", 1),
        ("print('well', file=sys.stderr)", ">&-", 0),
        ("sys.stdout.buffer.write(b'lost')", ">&-", 1),
        ("os.write(1, b'lost')", ">&-", 1),
        ("print('help'); sys.exit(0)", ">&-", 1),
        ("print('refused', file=sys.stderr); sys.exit(2)", "2>&-", 2),
        ("sys.exit(os.system('echo lost') >> 8)", ">&-", 1),
    ],
)
def test_what_is_lost_to_a_closed_stream_is_an_error(act, closed, code):
    assert ended(act, closed) == code


def test_who_complains_to_nobody_goes_on_to_the_end(tmp_path):
    path = tmp_path / "file"
    act = "print('lost', file=sys.stderr); open(sys.argv[1], 'w').write('done')"
    assert ended(act, "2>&-", path) == 1
    assert path.read_text() == "done"


def test_a_closed_stream_is_no_file_of_ours(tmp_path):
    path = tmp_path / "file"
    act = (
        "file = open(sys.argv[1], 'w'); print('nor this', file=sys.stderr);"
        " print('said to nobody'); sys.exit(file.close())"
    )
    assert ended(act, "<&- >&- 2>&-", path) == 1
    assert path.read_text() == ""


def test_the_interpreter_keeps_its_options():
    script = "import sys; print(sys.flags.isolated, sys.flags.dont_write_bytecode, sys.argv)"
    words = ["-I", "-B", "-c", f"from rhubarbe.start import begin; begin()\n{script}", "x y", "-c"]
    done = subprocess.run(
        [sys.executable, *words], env=os.environ | PLAIN, capture_output=True, check=True, text=True
    )
    assert done.stdout == "1 1 ['-c', 'x y', '-c']\n"


@pytest.mark.parametrize(("soft", "hard"), [(64, 64), (64, 3000), (1024, 4096)])
def test_as_many_files_may_be_open_as_the_system_lets_us(soft, hard):
    def limit():
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    script = "import resource; print(resource.getrlimit(resource.RLIMIT_NOFILE))"
    done = started(script, preexec_fn=limit)
    assert done.stdout.decode() == f"({hard}, {hard})\n"


def test_whoever_has_no_name_gets_one_by_number():
    """As a user of a container whose number nobody has written into /etc/passwd."""
    if os.getuid():
        pytest.skip("needs root, to be another user")
    code = "import getpass, os; from rhubarbe.start import begin; os.setuid(987654); begin()"
    environ = {key: os.environ[key] for key in ("PATH", "PYTHONPATH") if key in os.environ}
    command = [sys.executable, "-c", f"{code}; print(getpass.getuser())"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environ)
    assert done.stdout == "uid-987654\n"


@pytest.mark.parametrize("option", ["--help", "--version"])
@pytest.mark.parametrize(
    "program",
    ["frisbee", "frisbeed", "imagezip", "imageunzip", "imagedump", "ramdisk", "testbed", "load"],
)
def test_an_output_that_cannot_be_written_is_one_line_and_exit_code_1(program, option):
    words = [sys.executable, str(BIN / f"rhubarbe-{program}"), option]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.endswith("No space left on device")


@pytest.mark.parametrize(
    ("words", "status"),
    [
        ("rhubarbe-imagedump --help", -signal.SIGINT),
        ("rhubarbe-frisbeed -h", -signal.SIGINT),
        ("rhubarbe-testbed --help", -signal.SIGINT),
        ("rhubarbe-ramdisk", -signal.SIGINT),
        ("rhubarbe-nodes --help", 1),
        ("rhubarbe-main.py", 1),
    ],
)
def test_an_interrupt_ends_what_nobody_reads(words, status):
    out, into = os.pipe()
    fcntl.fcntl(into, fcntl.F_SETPIPE_SZ, 4096)
    os.write(into, b"x" * 4096)
    program, *options = words.split()
    with subprocess.Popen([BIN / program, *options], stdout=into, stderr=into) as process:
        os.close(into)
        try:
            _wait_until_it_writes(process.pid)
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == status
        finally:
            process.kill()
    os.close(out)


def _wait_until_it_writes(pid):
    deadline = time.monotonic() + 50
    while not Path(f"/proc/{pid}/wchan").read_text().endswith("pipe_write"):
        assert time.monotonic() < deadline
        time.sleep(0.02)
