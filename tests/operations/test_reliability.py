from dataclasses import replace

from rhubarbe.gateway.state.history import NodeRun
from rhubarbe.operations.reliability import rank


def run(node, *, ok=True, phase="", reason="", started=0.0, attempts=1, **phases):
    return NodeRun(
        node=node,
        ok=ok,
        attempts=attempts,
        phase=phase,
        reason=reason,
        started=started,
        command="load",
        phases=phases,
    )


def test_the_least_reliable_first_then_the_slowest():
    judged = rank(
        [
            run("fast", reset=1.0, image=5.0),
            run("slow", reset=1.0, image=9.0),
            run("often", ok=False, phase="reset", reason="no answer"),
            run("often", ok=False, phase="reset", reason="no answer"),
            run("seldom", ok=False, phase="image", reason="cut"),
            run("seldom"),
        ]
    )
    assert [one.node for one in judged] == ["often", "seldom", "slow", "fast"]
    assert [one.failure_rate for one in judged] == [1.0, 0.5, 0.0, 0.0]


def test_medians_leave_out_the_phase_that_failed():
    (judged,) = rank(
        [
            run("fit01", reset=1.0, image=4.0),
            run("fit01", reset=2.0, image=6.0, attempts=2),
            run("fit01", ok=False, phase="image", reason="cut", reset=9.0, image=100.0),
        ]
    )
    assert judged.phases == {"reset": 2.0, "image": 5.0}
    assert judged.second_rounds == 1
    assert judged.last_failure.reason == "cut"


def test_what_the_gateway_lacked_says_nothing_about_the_node():
    lacked = replace(run("fit01", ok=False, phase="link", reason="read only"), blameless=True)
    assert rank([lacked]) == []
    (judged,) = rank([lacked, run("fit01")])
    assert (judged.runs, judged.failures) == (1, 0)


def test_an_interrupt_says_nothing_about_the_node():
    assert rank([run("fit01", ok=False, phase="image", reason="interrupted")]) == []
