import pytest

from rhubarbe.displays.table import MOST_ROWS, SLOWEST, table
from rhubarbe.events import Finished, NodeResult, Phase


def result(number, **more):
    given = {"ok": True, "seconds": 12.0, "phases": {Phase.RESET: 1.23, Phase.IMAGE: 10.0}}
    return NodeResult(node=f"fit{number:02}", number=number, **given | more)


def bad(number, reason="no answer", **more):
    return result(number, ok=False, phase=Phase.RESET, reason=reason, **more)


def finished(*nodes):
    code = 0 if all(node.ok for node in nodes) else 1
    return Finished(command="load", good="", bad="", exit_code=code, seconds=1.0, nodes=nodes)


def test_a_row_a_node_and_the_reason_of_a_bad_one_below():
    lines = table(finished(result(1), bad(2, phases={Phase.RESET: 60.0}), result(3, attempts=2)))
    assert lines == [
        "node   result         reset  image  total",
        "fit01  ok               1.2   10.0   12.0",
        "fit02  FAILED          60.0      -   12.0",
        "    reset: no answer",
        "fit03  ok in round 2    1.2   10.0   12.0",
    ]


def test_all_phases_fit_into_80_columns():
    phases = dict.fromkeys(set(Phase) - {Phase.LINK, Phase.POWER}, 999.94)  # never with others
    lines = table(finished(bad(100, attempts=2, seconds=9999.9, phases=phases)))
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize("nodes", [(), (result(1),)])
def test_nothing_to_tell(nodes):
    assert table(finished(*nodes)) == []


def test_one_bad_node_has_its_table():
    assert len(table(finished(bad(1)))) == 3


def test_of_many_nodes_the_remarkable_ones():
    nodes = [result(number, seconds=float(number)) for number in range(1, 200)]
    nodes[10] = bad(11)
    nodes[20] = result(21, attempts=2)
    lines = table(finished(*nodes))
    assert len(nodes) > MOST_ROWS
    assert [line.split()[0] for line in lines if line.startswith("fit")] == [
        "fit11",
        "fit21",
        *(f"fit{number}" for number in range(200 - SLOWEST, 200)),
    ]
    assert lines[-1] == "(and 192 more nodes, which went well and faster)"


def test_what_a_node_said_cannot_garble_the_terminal():
    lines = table(finished(bad(1, reason="\x1b[2J\nfit02  ok")))
    assert all(line.isprintable() for line in lines)
    assert len(lines) == 3
