"""A sentence that tells its own cure becomes a finding with the command."""

import pytest

from rhubarbe.doctor.findings import all_of, told
from rhubarbe.events import Health


@pytest.mark.parametrize(
    ("sentence", "text", "repair", "as_root"),
    [
        ("/x: is open; as root: chmod +t /x", "/x: is open", "chmod +t /x", True),
        ("/x: is open; do: chmod go-w /x", "/x: is open", "chmod go-w /x", False),
        (
            "/x: lacks; as root: mkdir /x; chmod 1777 /x",
            "/x: lacks",
            "mkdir /x; chmod 1777 /x",
            True,
        ),
        ("/x: is odd", "/x: is odd", "", False),
    ],
)
def test_the_cure_is_the_end_of_a_sentence(sentence, text, repair, as_root):
    finding = told(sentence, "look at it")
    assert (finding.text, finding.repair, finding.as_root) == (text, repair, as_root)
    assert finding.advice == ("" if repair else "look at it")
    assert finding.health is Health.WRONG


def test_where_nothing_is_wrong_all_is_well():
    (finding,) = all_of([], "all is well")
    assert (finding.text, finding.health) == ("all is well", Health.OK)
