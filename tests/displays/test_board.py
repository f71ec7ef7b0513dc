import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rhubarbe import events
from rhubarbe.displays import cells
from rhubarbe.displays.board import Board, Style
from rhubarbe.events import Health, Phase

TEXT = st.text(max_size=30) | st.sampled_from(["\x1b[2J", "日本語 " * 9, "e\u0301" * 50, "\n\t"])
NODES = st.sampled_from([f"fit{number:02}" for number in range(1, 30)]) | st.text(max_size=9)
FIELDS = {
    str: TEXT,
    bool: st.booleans(),
    int: st.integers(min_value=0, max_value=2**50),
    float: st.floats(),
    Phase: st.sampled_from(Phase),
    Health: st.sampled_from(Health),
    tuple[str, ...]: st.lists(NODES, max_size=200).map(tuple),
    tuple[events.NodeResult, ...]: st.lists(
        st.builds(
            events.NodeResult,
            node=NODES,
            reason=TEXT,
            phases=st.dictionaries(st.sampled_from(Phase), st.floats()),
        ),
        max_size=60,
    ).map(tuple),
}


def any_event(cls):
    kinds = {key: FIELDS[kind] for key, kind in all_fields(cls).items()}
    return st.builds(cls, **kinds | ({"node": NODES} if "node" in kinds else {}))


def all_fields(cls):
    return {
        key: kind
        for base in reversed(cls.__mro__)
        for key, kind in vars(base).get("__annotations__", {}).items()
    }


FACTS = [
    thing
    for thing in vars(events).values()
    if isinstance(thing, type)
    and issubclass(thing, events.Event)
    and thing not in (events.Event, events.NodeEvent)
]
EVENTS = st.one_of([any_event(cls) for cls in FACTS])


def rows(board, width, height, elapsed=0.0):
    return ["".join(span.text for span in line) for line in board.render(width, height, elapsed)]


def board_of(number, *more):
    board = Board()
    names = tuple(f"fit{node:02}" for node in range(1, number + 1))
    board.take(events.Started(command="load", nodes=names))
    board.take(events.ImageChosen(path="/images/sample.ndz", size=2**20, chunks=1))
    for event in more:
        board.take(event)
    return board


def busy(number, percent):
    node = f"fit{number:02}"
    return [
        events.PhaseStarted(node=node, phase=Phase.IMAGE),
        events.Progress(node=node, percent=percent),
    ]


def failed(number):
    return events.NodeFailed(
        node=f"fit{number:02}", phase=Phase.RAMDISK, reason="no answer", last_line=""
    )


@settings(max_examples=60)
@pytest.mark.timeout(60)
@given(
    st.lists(EVENTS, max_size=40),
    st.integers(0, 140),
    st.integers(0, 50),
    st.floats(min_value=0, max_value=1e6),
)
def test_any_events_fit_any_window(told, width, height, elapsed):
    board = Board()
    for event in told:
        board.take(event)
    drawn = rows(board, width, height, elapsed)
    assert len(drawn) <= height
    assert all(cells.columns(row) <= width for row in drawn)
    assert all(row.isprintable() for row in drawn)


@given(st.integers(1, 300), st.integers(20, 120), st.integers(4, 40), st.integers(0, 100))
def test_every_node_is_shown_or_counted(number, width, height, elapsed):
    drawn = rows(board_of(number), width, height, float(elapsed))
    shown = sum(row.count(". fit") for row in drawn)
    hidden = [int(row.split()[2]) for row in drawn if row.startswith("… and ")]
    assert shown + sum(hidden) == number


def test_one_row_a_node():
    board = board_of(4, *busy(1, 50.0), failed(2), events.NodeSucceeded(node="fit03", seconds=23.0))
    board.take(events.NodeSaid(node="fit01", line="Wrote 128 MB"))
    board.take(events.PhaseStarted(node="fit04", phase=Phase.RAMDISK))
    board.take(events.NodeNoted(node="fit04", text="trying telnet"))
    assert [row.rstrip() for row in rows(board, 80, 12, 12.0)] == [
        "rhubarbe-load sample.ndz (1.0 MiB)                                         +012s",
        "[####################################.....................................]  50%",
        "> fit01 image   [###############................]  50%  Wrote 128 MB",
        "x fit02 FAILED   ramdisk: no answer",
        "+ fit03 done    [###############################] 100%  ok in 23.0 s",
        "> fit04 ramdisk  trying telnet",
        "",
        "",
        "",
        "",
        "4 nodes: 1 failed, 2 busy, 1 done",
        "fit02: FAILED in ramdisk: no answer",
    ]


def test_twelve_nodes_in_a_small_window():
    board = board_of(12, *busy(1, 50.0), failed(2), *busy(7, 7.0))
    board.take(events.PhaseStarted(node="fit08", phase=Phase.RAMDISK))
    assert [row.rstrip() for row in rows(board, 40, 10, 100.0)] == [
        "rhubarbe-load sample.ndz (1.0 MiB) +100s",
        "[#................................]   5%",
        "> fit01     50%      > fit07      7%",
        "x fit02 FAILED       > fit08 ramdisk",
        ". fit03 waiting      . fit09 waiting",
        ". fit04 waiting      . fit10 waiting",
        ". fit05 waiting      . fit11 waiting",
        ". fit06 waiting      . fit12 waiting",
        "12 nodes: 1 failed, 3 busy, 8 waiting",
        "fit02: FAILED in ramdisk: no answer",
    ]


def test_failed_and_busy_nodes_first_where_not_all_have_room():
    done = [events.NodeSucceeded(node=f"fit{node:02}", seconds=1.0) for node in range(1, 41)]
    drawn = rows(board_of(60, *done, *busy(59, 5.0), failed(60)), 40, 10)
    assert drawn[2].startswith("x fit60 FAILED")
    assert drawn[3].startswith("> fit59      5%")
    assert drawn[7] == "… and 50 more: 10 waiting, 40 done"


def test_busy_nodes_take_turns_where_they_are_too_many():
    board = board_of(40, *(event for node in range(1, 41) for event in busy(node, 1.0)))
    seen = set()
    for elapsed in range(0, 16, 4):
        drawn = " ".join(rows(board, 40, 10, float(elapsed)))
        seen |= {f"fit{node:02}" for node in range(1, 41) if f"> fit{node:02}" in drawn}
    assert len(seen) == 40


def test_styles_follow_the_state():
    board = board_of(4, *busy(1, 50.0), failed(2), events.NodeSucceeded(node="fit03", seconds=1.0))
    styles = [line[0].style for line in board.render(80, 12, 0.0)[2:6]]
    assert styles == [Style.BUSY, Style.FAILED, Style.DONE, Style.WAITING]


def test_the_smallest_windows_still_tell_how_far_it_is():
    board = board_of(1, *busy(1, 50.0))
    assert rows(board, 20, 1) == ["[######.......]  50%"]
    assert rows(board, 20, 2) == ["[######.......]  50%", "1 node: 1 busy"]
    assert len(rows(board, 1, 1)) == 1


@pytest.mark.parametrize(
    ("text", "width", "cut"),
    [
        ("abc", 3, "abc"),
        ("abcd", 3, "ab…"),
        ("abcd", 1, "…"),
        ("abcd", 0, ""),
        ("日本語", 5, "日本…"),
        ("日本語", 4, "日…"),
    ],
)
def test_clip(text, width, cut):
    assert cells.clip(text, width) == cut


@given(st.floats(0, 99.9) | st.just(100.0), st.integers(3, 100))
def test_a_bar_has_its_width_and_is_full_only_at_the_end(percent, width):
    bar = cells.bar(percent, width)
    assert len(bar) == width
    assert ("." not in bar) is (percent == 100.0)


def test_no_bars_where_no_image_travels():
    board = Board()
    board.take(events.Started(command="wait", nodes=("fit01", "fit02")))
    board.take(events.PhaseStarted(node="fit01", phase=Phase.SSH))
    board.take(events.NodeNoted(node="fit01", text="ssh: connection refused"))
    assert rows(board, 60, 8)[2].rstrip() == "> fit01 ssh      ssh: connection refused"


def test_only_the_last_notices_are_kept():
    board = board_of(1, *(events.Notice(text=f"notice {number}") for number in range(9)))
    assert rows(board, 60, 20)[-3:] == ["notice 6", "notice 7", "notice 8"]


@pytest.mark.parametrize(
    ("width", "text"),
    [
        (15, "> fit01     50%"),
        (20, "> fit01 image    50%"),
        (38, "> fit01 image   [#######........]  50%"),
        (60, "> fit01 image   [#####......]  50%  Wrote 128 MB of 4096 MB"),
    ],
)
def test_more_room_more_words(width, text):
    board = board_of(1, *busy(1, 50.0))
    board.take(events.NodeSaid(node="fit01", line="Wrote 128 MB of 4096 MB"))
    assert rows(board, width, 6)[2].rstrip() == text
