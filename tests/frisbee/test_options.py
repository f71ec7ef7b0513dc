import pytest

from rhubarbe.frisbee import client, mfrisbeed, server
from rhubarbe.frisbee.errors import UsageError
from rhubarbe.frisbee.pacing import BITS_PER_BLOCK


@pytest.mark.parametrize(
    "line",
    [
        "-i 127.0.0.1 -W 500000000 -m 234.5.6.1 -p 10001 -K 3 image.ndz",
        "image.ndz -K 3 -m 234.5.6.1 -p 10001 -i127.0.0.1 -W500000000",
        "-K3 -m 234.5.6.1 image.ndz -p10001-10001 -W 500000000 -i 127.0.0.1",
        "-W 500000000 -K 3 -m 234.5.6.1 -p 10001 -i 127.0.0.1 -- image.ndz",
    ],
)
def test_the_server_takes_options_in_any_order(line):
    settings = server.read_settings(line.split())
    assert (settings.image, settings.group, settings.interface) == (
        "image.ndz",
        "234.5.6.1",
        "127.0.0.1",
    )
    assert (settings.ports, settings.keep_alive, settings.bandwidth) == (
        (10001, 10001),
        3,
        5 * 10**8,
    )


def test_flags_may_share_a_dash_and_repeat():
    settings = server.read_settings(["-ddDT", "-1", "-m", "234.5.6.1", "-p", "5-9", "x"])
    assert (settings.debug, settings.dynamic, settings.idle_limit, settings.ports) == (
        2,
        True,
        -1,
        (5, 9),
    )


def test_the_bandwidth_is_in_blocks_of_8976_bits():
    pacer = server.read_settings(["-W", "100000000", "-m", "234.5.6.1", "-p", "1", "x"]).pacer()
    assert pacer.rate * BITS_PER_BLOCK == pytest.approx(100_000_000)
    assert pacer.burst == 11


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("-m 234.5.6.1 -p 1", "one image is needed, not 0"),
        ("-m 234.5.6.1 -p 1 a b", "one image is needed, not 2"),
        ("-p 1 x", "-m GROUP and -p PORT are needed"),
        ("-m 234.5.6.1 -p 70000 x", "option -p: '70000'"),
        ("-m 234.5.6.1 -p 9-5 x", "option -p: '5'"),
        ("-m 234.5.6 -p 1 x", "not an IPv4 address"),
        ("-m 234.5.6.1 -p 1 -W 5 x", "option -W: '5'"),
        ("-Z -m 234.5.6.1 -p 1 x", "invalid option -- 'Z'"),
        ("x -m", "option requires an argument -- 'm'"),
        ("x --fast", "unrecognized option '--fast'"),
    ],
)
def test_what_the_server_cannot_understand(line, message):
    with pytest.raises(UsageError, match=message):
        server.read_settings(line.split())


def test_the_server_combines_repairs_unless_told_not_to():
    base = ["-m", "234.5.6.1", "-p", "1", "x"]
    assert server.read_settings(base).parity
    assert not server.read_settings(["--no-parity", *base]).parity


@pytest.mark.parametrize("letter", "eE")
def test_the_server_refuses_in_one_line_what_is_of_encryption(letter, capfd):
    assert server.main([f"-{letter}", "key", "-m", "234.5.6.1", "-p", "1", "x"]) == 1
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith(f"rhubarbe-frisbeed: option -{letter}: ")


@pytest.mark.parametrize("words", [["--manifest="], ["--manifest", ""], ["--manifest", "x"]])
def test_a_manifest_of_no_name_is_not_taken_for_none(words):
    digest = ["--manifest-digest="] if words[-1] == "x" else []
    base = ["-m", "234.5.6.1", "-p", "9", "/dev/null"]
    with pytest.raises(UsageError, match="option requires an argument -- 'manifest"):
        client.read_settings([*words, *digest, *base])


def test_the_client_shares_memory_between_chunks_and_writing():
    base = ["-m", "234.5.6.1", "-p", "9", "/dev/null"]
    settings = client.read_settings(["-M", "100", *base])
    assert (settings.tuning.buffers, settings.write_mib) == (50, 50)
    settings = client.read_settings(["-C", "10", "-W", "20", *base])
    assert (settings.tuning.buffers, settings.write_mib) == (10, 20)
    assert client.read_settings(base).tuning.buffers == 64


def test_the_client_gives_up_on_a_silent_server_unless_told_not_to():
    base = ["-m", "234.5.6.1", "-p", "9", "/dev/null"]
    assert client.read_settings(base).tuning.silence == 60
    assert client.read_settings(["-T", "0", *base]).tuning.silence == 0


def test_the_client_takes_what_scripts_give_it():
    line = "-zqO -I 500 -R3 --as-device -f -n -s 1 /dev/sda -i 10.0.0.1 -m 234.5.6.1 -p 10001"
    settings = client.read_settings(line.split())
    assert (settings.disk, settings.slice_number) == ("/dev/sda", 1)
    assert (settings.tuning.redo, settings.tuning.read_ahead) == (0.5, 3)
    assert not settings.tuning.randomize
    assert settings.given.has("as-device")


@pytest.mark.parametrize("program", [client, server, mfrisbeed])
def test_wrong_usage_is_told_with_how_to_do_it_and_no_more(program, capfd):
    assert program.main(["-m", "234.5.6.1"]) == 1
    lines = capfd.readouterr().err.splitlines()
    assert lines[0].startswith("usage: rhubarbe-")
    assert lines[-2].endswith(" --help")
    assert lines[-1].endswith(" needed, not 0")
    assert len(lines) < 12


@pytest.mark.parametrize("program", [client, server, mfrisbeed])
def test_without_any_words_all_is_told(program, capfd):
    assert program.main(["-h"]) == 1
    assert "\n\nExample: rhubarbe-" in capfd.readouterr().err


SESSION = ["-m", "234.5.6.1", "-p", "9"]


@pytest.mark.parametrize("program", [client, server])
@pytest.mark.parametrize("letter", ["k", "T", "K"])
def test_numbers_that_no_kernel_takes_are_refused(program, letter):
    with pytest.raises(UsageError, match=rf"^option -{letter}: '2147483648' is not a number from"):
        program.read_settings([*SESSION, f"-{letter}", "2147483648", "x"])


@pytest.mark.parametrize("program", [client, server])
@pytest.mark.parametrize("address", ["0234.5.6.1", "234.05.6.1", "\u0662.5.6.1", "234.5.6"])
def test_an_address_that_some_read_otherwise_is_refused(program, address):
    with pytest.raises(UsageError, match="is not an IPv4 address"):
        program.read_settings(["-p", "9", "-m", address, "x"])
