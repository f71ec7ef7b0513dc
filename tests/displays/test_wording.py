import pytest
from hypothesis import given
from hypothesis import strategies as st

from rhubarbe import events
from rhubarbe.displays import wording
from rhubarbe.events import Phase

# each event and its line
TABLE = [
    (events.Started(command="load", nodes=("fit01", "fit02")), "Selection: fit01 fit02"),
    (
        events.ImageChosen(path="/images/a.ndz", size=432_013_312, chunks=412),
        "Loading image /images/a.ndz (412 MiB)",
    ),
    (
        events.ImageServed(group="234.5.6.7", port=10000, bandwidth_mibps=500),
        "Image server ready on 234.5.6.7 port 10000, 500 Mibps",
    ),
    (
        events.CollectorReady(address="10.0.0.1", port=10001, path="mine.ndz.partial"),
        "Collecting mine.ndz.partial on 10.0.0.1 port 10001",
    ),
    (events.ImageSaved(path="mine.ndz", size=2**30), "Saved image mine.ndz (1.0 GiB)"),
    (events.Notice(text="skipping reset"), "skipping reset"),
    (
        events.Finding(check="links", health=events.Health.OK, text="can be made"),
        "links: ok: can be made",
    ),
    (
        events.Finding(
            check="links",
            health=events.Health.WRONG,
            text="cannot be made",
            repair="chmod 2775 /x",
            as_root=True,
            advice="or see config_dir",
        ),
        "links: wrong: cannot be made; as root: chmod 2775 /x (or see config_dir)",
    ),
    (
        events.PhaseDone(node="fit01", phase=Phase.RESET, seconds=3.21),
        "fit01: reset: done in 3.2 s",
    ),
    (
        events.NodeNoted(node="fit01", text="reset: reboot01 says ok"),
        "fit01: reset: reboot01 says ok",
    ),
    (events.NodeSucceeded(node="fit01", seconds=23.04), "fit01: ok in 23.0 s"),
    (
        events.NodeRetried(node="fit03", phase=Phase.IMAGE, reason="exit code 1", attempt=2),
        "fit03: round 2 begins, after image: exit code 1",
    ),
    (
        events.NodeFailed(
            node="fit03", phase=Phase.RAMDISK, reason="no answer on telnet in 80 s", last_line=""
        ),
        "fit03: FAILED in ramdisk: no answer on telnet in 80 s",
    ),
    (
        events.NodeFailed(
            node="fit03", phase=Phase.IMAGE, reason="exit code 1", last_line="No disk"
        ),
        "fit03: FAILED in image: exit code 1 (last line: No disk)",
    ),
    (
        events.Finished(command="load", good="1-3,7-12", bad="", exit_code=0, seconds=23.4),
        "rhubarbe-load: all went well on 9 nodes in 23 s",
    ),
    (
        events.Finished(command="rhubarbe-save", good="4", bad="", exit_code=0, seconds=9.6),
        "rhubarbe-save: all went well on 1 node in 10 s",
    ),
    (
        events.Finished(command="load", good="1-11", bad="12", exit_code=1, seconds=99.0),
        "rhubarbe-load: FAILED on 1 of 12 nodes in 99 s",
    ),
    (
        events.Finished(command="load", good="", bad="", exit_code=1, seconds=2.0),
        "rhubarbe-load: FAILED in 2 s",
    ),
    (
        events.Finished(command="wait", good="", bad="", exit_code=0, seconds=2.0),
        "rhubarbe-wait: all went well in 2 s",
    ),
    (
        events.StrangersSeen(node="fit01", addresses=("10.9.0.3",), text="Rejected 1 chunk"),
        "fit01: strangers on the network: Rejected 1 chunk",
    ),
    (events.NodeAnswered(node="fit01", text="on"), "fit01: on"),
    (
        events.NodeAnswered(node="fit41", text="no answer in 3 s", ok=False, card="reboot15"),
        "reboot15: no answer in 3 s",
    ),
]
CHATTER = [
    (events.NodeSaid(node="fit01", line="Wrote 128 MB"), "fit01 says: Wrote 128 MB"),
    (events.ServerSaid(line="Joined the team"), "image server says: Joined the team"),
]
QUIET = [
    (events.PhaseStarted(node="fit01", phase=Phase.RESET), "fit01: reset: started"),
    (events.Progress(node="fit01", percent=42.0), "fit01: 42.0 %"),
]


def test_every_event_class_is_worded_here():
    facts = {
        thing
        for thing in vars(events).values()
        if isinstance(thing, type) and issubclass(thing, events.Event)
    }
    worded = {type(event) for event, _ in [*TABLE, *CHATTER, *QUIET]}
    assert worded == facts - {events.Event, events.NodeEvent}


@pytest.mark.parametrize(("event", "text"), TABLE)
def test_a_line(event, text):
    assert wording.line(event) == text
    assert wording.describe(event) == text


@pytest.mark.parametrize(("event", "text"), CHATTER)
def test_what_programs_say_is_shown_when_verbose(event, text):
    assert wording.line(event) is None
    assert wording.line(event, verbose=True) == text
    assert wording.describe(event) == text


@pytest.mark.parametrize(("event", "text"), QUIET)
def test_no_line_even_when_verbose_but_a_description(event, text):
    assert wording.line(event, verbose=True) is None
    assert wording.describe(event) == text


def test_closing_lines():
    finished = events.Finished(command="load", good="1-3,7-12", bad="5", exit_code=1, seconds=23.4)
    assert wording.closing(finished) == [
        "good: 1-3,7-12",
        "bad: 5",
        "rhubarbe-load: FAILED on 1 of 10 nodes in 23 s",
    ]


def bad(number, reason):
    return events.NodeResult(
        node=f"fit{number:02}",
        number=number,
        ok=False,
        seconds=9.0,
        phase=Phase.RAMDISK,
        reason=reason,
    )


def test_the_reason_follows_the_bad_set_where_it_is_the_same_for_all():
    one = {"command": "load", "good": "1", "bad": "2-3", "exit_code": 1, "seconds": 9.0}
    same = events.Finished(**one, nodes=(bad(2, "no answer"), bad(3, "no answer")))
    assert wording.closing(same)[1] == "bad: 2-3 (ramdisk: no answer)"
    different = events.Finished(**one, nodes=(bad(2, "no answer"), bad(3, "cut")))
    assert wording.closing(different)[1] == "bad: 2-3"


def test_the_verdict_tells_of_a_second_round():
    again = events.NodeResult(node="fit02", number=2, ok=True, seconds=9.0, attempts=2)
    finished = events.Finished(
        command="load", good="1-2", bad="", exit_code=0, seconds=9.0, nodes=(again,)
    )
    assert wording.describe(finished) == (
        "rhubarbe-load: all went well on 2 nodes, of which 1 in a second round in 9 s"
    )


def test_no_line_for_an_empty_set():
    finished = events.Finished(command="load", good="1-3", bad="", exit_code=0, seconds=5.0)
    assert wording.closing(finished) == [
        "good: 1-3",
        "rhubarbe-load: all went well on 3 nodes in 5 s",
    ]


def test_a_long_selection_is_told_in_short():
    names = tuple(f"fit{number:03}" for number in range(1, 401))
    text = wording.line(events.Started(command="load", nodes=names))
    assert text == "Selection: 400 nodes from fit001 to fit400"


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("plain", "plain"),
        ("\x1b[31;1mred\x1b[0m", "red"),
        ("\x9b2Jgone", "gone"),
        ("\x1b]0;title\x07after", "after"),
        ("\x1b]52;c;aGVsbG8=\x1b\\after", "after"),
        ("\x1bP1$r0m\x1b\\after", "after"),
        ("\x1b(Bcharset", "charset"),
        ("\x1bcreset", "reset"),
        ("\x1b[unfinished", "nfinished"),
        ("two\r\nlines\tand a tab", "two lines and a tab"),
        ("bell\x07 back\x08space nul\x00", "bell backspace nul"),
        ("right-to-left \u202eevil", "right-to-left evil"),
        ("été ≥ 日本", "été ≥ 日本"),
    ],
)
def test_sanitise(raw, clean):
    assert wording.sanitise(raw) == clean


@given(st.text(st.characters(), max_size=60) | st.text("\x1b[]P\\;0m\x9b\x07\n a", max_size=60))
def test_sanitised_text_is_printable(raw):
    clean = wording.sanitise(raw, limit=20)
    assert clean == "" or clean.isprintable()
    assert len(clean) <= 20


def test_sanitise_bounds_the_length():
    assert wording.sanitise("x" * 5000) == "x" * (wording.LIMIT - 1) + "…"


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 bytes"),
        (1023, "1023 bytes"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (2**20 * 12, "12 MiB"),
        (2**40, "1024 GiB"),
    ],
)
def test_amount(size, text):
    assert wording.amount(size) == text


@pytest.mark.parametrize(
    ("selection", "number"), [("", 0), ("5", 1), ("1-3,7", 4), ("fit01-fit12", 12), ("1-9-2", 5)]
)
def test_count(selection, number):
    assert wording.count(selection) == number
