"""What a person reads of an examination."""

import io

from rhubarbe.displays.checklist import Checklist
from rhubarbe.events import Finding, Finished, Health, Notice


def shown(*events):
    findings, asides = io.StringIO(), io.StringIO()
    window = Checklist(findings, asides)
    for event in events:
        window.show(event)
    window.close()
    return findings.getvalue(), asides.getvalue()


def wrong(check, **said):
    return Finding(check=check, health=Health.WRONG, **said)


def finished(code):
    return Finished(command="doctor", good="", bad="", exit_code=code, seconds=1.0)


def test_a_line_a_finding_and_the_repair_below():
    told, asides = shown(
        Finding(check="links", health=Health.OK, text="/x: fine"),
        Finding(check="tftp", health=Health.SKIPPED, text="not asked"),
        wrong("state", text="/y: open", repair="chmod +t /y", as_root=True),
        wrong("ssh-key", text="none", repair="ssh-keygen"),
        wrong("power", text="fit01:\x1b[31m away", advice="plug it in"),
        Notice(text="no log"),
        finished(1),
    )  # fmt: skip
    gap = " " * 22
    assert told.splitlines() == [
        "ok     links          /x: fine",
        "-      tftp           not asked",
        "WRONG  state          /y: open",
        f"{gap}as root: chmod +t /y",
        "WRONG  ssh-key        none",
        f"{gap}do: ssh-keygen",
        "WRONG  power          fit01: away",
        f"{gap}plug it in",
        "rhubarbe-doctor: 3 things are wrong",
    ]
    assert asides == "no log\n"


def test_a_good_end():
    assert shown(finished(0))[0] == "rhubarbe-doctor: all is well\n"
