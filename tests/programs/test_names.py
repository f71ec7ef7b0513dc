"""Names that are no UTF-8, and locales that know few letters: every verb, each with every name.

The names are bytes, as they are on the disk. What a program prints for another, it prints so.
"""

import json
import os
import pty
import shutil
import subprocess

import pytest
from emulated import start_testbed

NAMES = {
    "latin-1": b"caf\xe9",
    "no text at all": b"\xff\xfe-\x9b",
    "utf-8": "größer-日本".encode(),
    "escapes": b"red\x1b[31m\x1b]0;title\x07",
}
PLAIN = {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
LOCALES = {
    "utf-8": {"LC_ALL": "C.UTF-8"},
    "C": {"LC_ALL": "C"},
    "ascii": {"LC_ALL": "POSIX"} | PLAIN,
    "latin-1": {"LC_ALL": "en_US.ISO-8859-1"} | PLAIN,
    "streams": {"LC_ALL": "C.UTF-8", "PYTHONIOENCODING": "ascii:strict"},
}


@pytest.fixture(scope="module")
def testbed(tmp_path_factory):
    testbed = start_testbed(
        tmp_path_factory.mktemp("names"), "--nodes", "2", "--boot-time", "0.3", "--sample-size", "4"
    )
    for name in NAMES.values():
        shutil.copy(testbed.directory / "images" / "sample.ndz", image(testbed, name))
    yield testbed
    testbed.end()
    shutil.rmtree(testbed.directory, ignore_errors=True)


@pytest.fixture(scope="session")
def latin_1(tmp_path_factory):
    """A directory with a locale that this machine may not have; None where none can be made."""
    directory = tmp_path_factory.mktemp("locales")
    words = ["localedef", "-i", "en_US", "-f", "ISO-8859-1", directory / "en_US.ISO-8859-1"]
    try:
        subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    except FileNotFoundError:
        return None
    # its status says as little of a mere warning as of what it makes locales from being away
    return directory if (words[-1] / "LC_CTYPE").exists() else None


@pytest.fixture
def environ(locale, testbed, latin_1):
    more = LOCALES[locale]
    if locale == "latin-1":
        if latin_1 is None:
            pytest.skip("localedef, or what it makes locales from, is not installed")
        more = more | {"LOCPATH": str(latin_1)}
    return testbed.environ(**more)


def quick(*pairs):
    """Try all locales with all names, but those of these pairs only where there is time."""
    return pytest.mark.parametrize(
        ("locale", "name"),
        [
            pytest.param(
                locale,
                name,
                marks=[] if (locale, kind) in pairs else pytest.mark.full,
                id=f"{locale}-{kind}",
            )
            for locale in LOCALES
            for kind, name in NAMES.items()
        ],
    )


in_locales = pytest.mark.parametrize("locale", LOCALES)


def image(testbed, name):
    return os.fsencode(testbed.directory / "images") + b"/" + name + b".ndz"


def run(testbed, environ, *words, within=60):
    """Run a command; it may fail, but in words."""
    done = subprocess.run(
        words,
        cwd=testbed.directory,
        env=environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=within,
        check=False,
    )
    assert b"Traceback" not in done.stderr + done.stdout
    assert b"\x1b" not in done.stderr
    return done


@quick(("ascii", "latin-1"), ("latin-1", "utf-8"), ("streams", "no text at all"))
@pytest.mark.testbed
def test_it_is_loaded_and_all_that_is_told_can_be_written(testbed, environ, name):
    report = testbed.directory / "report.json"
    words = ("rhubarbe-load", "-i", name, "--json", "--report", report, "--retries", "0", "1")
    done = run(testbed, environ, *words)
    assert done.returncode == 0, done.stderr
    told = [json.loads(line) for line in done.stdout.splitlines()]
    chosen = next(event["path"] for event in told if event["event"] == "ImageChosen")
    assert os.fsencode(chosen) == image(testbed, name)
    assert not [event for event in told if "history" in event.get("text", "")]
    assert os.fsencode(json.loads(report.read_text())["image"]) == image(testbed, name)
    # Whoever asks, in whatever locale, the node holds what it was loaded with last.
    for locale in (environ, testbed.environ(**LOCALES["utf-8"])):
        found = run(testbed, locale, "rhubarbe-nodes", "-a", "--image", name)
        assert found.stdout == b"fit01\n"
    assert run(testbed, environ, "rhubarbe-history", "--json").returncode == 0


@quick(("utf-8", "latin-1"), ("latin-1", "escapes"))
@pytest.mark.testbed
def test_a_person_is_told(testbed, environ, name):
    done = run(testbed, environ, "rhubarbe-load", "-i", name, "--retries", "0", "2")
    assert done.returncode == 0, done.stderr
    assert b"all went well" in done.stdout
    assert b"\x1b" not in done.stdout
    assert (b"caf\\xe9.ndz" in done.stdout) == (name == NAMES["latin-1"])
    log = (testbed.directory / "rhubarbe.log").read_bytes()
    assert b"Loading image " + os.fsencode(testbed.directory / "images") in log
    assert b"\x1b" not in log
    log.decode("utf-8")


@pytest.mark.parametrize(
    "words",
    [
        ("images",),
        ("images", "-l", "--check"),
        ("list",),
        ("share", "-n", "-o", "other", b"@"),
        ("share", "-n", "-o", b"@", "sample"),
        ("share", "-n", "-a", b"@", "sample"),
        ("resolve", b"no-such-@"),
        ("load", "-i", b"no-such-@", "1"),
        ("load", b"@"),
        ("save", "-o", b"@", b"@"),
        ("save", "-o", b"nowhere/@", "1"),
        ("wait", "-i", b"@", b"@"),
        ("rescue", b"@"),
        ("status", b"@"),
        ("nodes", b"@"),
        ("sync", "-n", b"@", b"@"),
        ("book", b"@"),
        ("leases", b"@"),
        ("history", b"@"),
        ("inventory", b"@"),
        ("completion", "images"),
        ("config",),
        ("on", b"@"),
        (b"@",),
    ],
    ids=lambda words: "-".join(os.fsdecode(word) for word in words),
)
@quick(("ascii", "no text at all"))
@pytest.mark.testbed
def test_no_verb_stumbles(testbed, environ, name, words):
    verb, *rest = [os.fsencode(word).replace(b"@", name) for word in words]
    done = run(testbed, environ, "rhubarbe-main.py", verb, *rest)
    assert done.returncode in (0, 1, 2)
    assert b"\x1b" not in done.stdout


@quick(("latin-1", "utf-8"), ("ascii", "latin-1"))
@pytest.mark.testbed
def test_a_path_is_printed_as_the_bytes_that_it_is(testbed, environ, name):
    for options in ((), ("-r",)):
        done = run(testbed, environ, "rhubarbe-resolve", *options, name)
        assert done.returncode == 0
        if "PYTHONIOENCODING" not in environ:
            assert done.stdout == image(testbed, name) + b"\n"
    listed = json.loads(run(testbed, environ, "rhubarbe-images", "--json").stdout)
    paths = {os.fsencode(one["path"]) for part in listed for one in part["images"]}
    assert image(testbed, name) in paths


@quick(("ascii", "escapes"))
@pytest.mark.testbed
def test_the_programs_for_images(testbed, environ, name, tmp_path):
    disk = os.fsencode(tmp_path) + b"/disk-" + name
    shutil.copy(testbed.source, disk)
    made = os.fsencode(tmp_path) + b"/made-" + name
    for words in (
        ("imagezip", disk, made),
        ("imagedump", "--check", made),
        ("imagedump", made),
        ("imageunzip", made, disk),
    ):
        verb, *rest = words
        done = run(testbed, environ, f"rhubarbe-{verb}", *rest)
        assert done.returncode == 0, done.stderr
    for words in (
        ("imagezip", made + b"/none", made),
        ("imageunzip", disk + b"-none", made),
        ("imagedump", disk),
        ("frisbee", "-m", name, "-p", "1", disk),
        ("frisbeed", "-m", "234.5.6.7", "-p", "10001", made + b"-none"),
        ("ramdisk", "build", "--output", disk + b"/none"),
        ("ramdisk", name),
        ("testbed", "--directory", disk + b"/none"),
        ("testbed", name),
    ):
        verb, *rest = words
        done = run(testbed, environ, f"rhubarbe-{verb}", *rest)
        assert done.returncode, words


def on_a_terminal(testbed, environ, *words):
    """Run a command on a terminal of its own; return its exit code and what it wrote there."""
    ours, its = pty.openpty()
    with subprocess.Popen(
        words, cwd=testbed.directory, env=environ, stdin=its, stdout=its, stderr=its
    ) as process:
        os.close(its)
        said = bytearray()
        try:
            while piece := os.read(ours, 65536):
                said += piece
        except OSError:  # the last program has closed it
            pass
        finally:
            os.close(ours)
        return process.wait(60), bytes(said)


@pytest.mark.parametrize("options", [(), ("-c",)], ids=["bar", "screen"])
@quick(("latin-1", "escapes"))
@pytest.mark.testbed
def test_on_a_terminal(testbed, environ, name, options):
    words = ("rhubarbe-load", "-i", name, *options, "--retries", "0", "1")
    code, said = on_a_terminal(testbed, environ | {"TERM": "xterm"}, *words)
    assert code == 0
    assert b"all went well" in said
    assert b"Traceback" not in said
    assert b"\x1b]0;" not in said


@in_locales
@pytest.mark.testbed
def test_a_terminal_is_written_to_in_its_own_encoding(testbed, environ):
    code, said = on_a_terminal(testbed, environ, "rhubarbe-resolve", NAMES["utf-8"])
    assert code == 0
    if environ["LC_ALL"] == "en_US.ISO-8859-1":
        assert "größer".encode("latin-1") + b"-\\u65e5" in said
        assert not [byte for byte in said if 0x80 <= byte < 0xA0]
    elif "PYTHONIOENCODING" not in environ and environ["LC_ALL"] != "POSIX":
        assert NAMES["utf-8"] in said
    code, said = on_a_terminal(testbed, environ, "rhubarbe-resolve", NAMES["no text at all"])
    assert (code, b"\\xff\\xfe-\\x9b" in said) == (0, True)


@in_locales
@pytest.mark.testbed
def test_a_configuration_names_places_by_their_bytes(testbed, environ, tmp_path):
    directory = tmp_path / "größer"
    directory.mkdir()
    shutil.copy(testbed.directory / "images" / "sample.ndz", directory / "there.ndz")
    conf = tmp_path / "c.conf"
    text = (testbed.directory / "rhubarbe.conf").read_text()
    conf.write_text(text.replace("[frisbee]\n", f"[frisbee]\nimages_dir = {tmp_path}/größer\n"))
    lines = conf.read_text().splitlines()
    kept = [line for line in lines if not line.startswith("images_dir") or "größer" in line]
    conf.write_text("\n".join(kept))
    done = run(testbed, environ | {"RHUBARBE_CONF": str(conf)}, "rhubarbe-images", "--json")
    assert [one["name"] for one in json.loads(done.stdout)[0]["images"]] == ["there"]
