"""Images as a user sees them: saved, listed with where they come from, found, shared."""

import json
import re

import pytest

pytestmark = [pytest.mark.testbed, pytest.mark.timeout(240)]

DAMAGE_AT = (1 << 20) + 9999


@pytest.fixture(scope="module")
def site(twelve):
    """The testbed, with one image saved from node 1, which was loaded before."""
    assert twelve.run("rhubarbe-load", "1").returncode == 0
    saved = twelve.run("rhubarbe-save", "1", "-o", "mywork", "-c", "with my - tools")
    assert saved.returncode == 0, saved.stdout + saved.stderr
    return twelve


def plain(text, site):
    """Put what differs from run to run out of the way."""
    text = text.replace(str(site.directory), "/site")
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d", "DATE", text)
    text = re.sub(r"by (?!rhubarbe)\S+:", "by USER:", text)
    return re.sub(r" +\d+\.\d\dM", " SIZE", text)


LONG = """\
/site/images: 1 image
DATE SIZE  sample  a.k.a. default
                  of no node, an emulated node, by rhubarbe-testbed
/site: 1 image
DATE SIZE  mywork
                  of fit01, DATE, by USER: with my - tools; from sample
"""


def test_a_saved_image_tells_where_it_comes_from(site):
    listed = site.run("rhubarbe-images", "--long")
    assert listed.returncode == 0
    assert plain(listed.stdout, site) == LONG


def test_the_same_for_programs(site):
    told = json.loads(site.run("rhubarbe-images", "--json", "--long").stdout)
    assert [part["directory"] for part in told] == [
        str(site.directory / "images"),
        str(site.directory),
    ]
    (sample,), (mine,) = (part["images"] for part in told)
    assert (sample["name"], sample["aliases"], sample["from"]) == ("sample", ["default"], [])
    assert (mine["saved"]["node"], mine["saved"]["comment"]) == ("fit01", "with my - tools")
    assert mine["from"] == ["sample"]
    assert (mine["sealed"], mine["size"]) == (
        True,
        (site.directory / "mywork.ndz").stat().st_size,
    )
    assert mine["id"] != sample["id"]


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ([], ["sample", "mywork"]),
        (["sam"], ["sample"]),
        (["sam", "my"], ["sample", "mywork"]),
        (["-a", "sam", "my"], []),
        (["-a", "sam", "defa"], ["sample"]),
    ],
)
def test_words_choose(site, words, shown):
    lines = site.run("rhubarbe-images", *words).stdout.splitlines()
    assert [line.split()[3] for line in lines if "M  " in line] == shown


def test_a_damaged_image_is_named_and_the_others_are_whole(make_testbed):
    testbed = make_testbed("--nodes", "1")
    whole = (testbed.directory / "images" / "sample.ndz").read_bytes()
    damaged = bytearray(whole)
    damaged[DAMAGE_AT] ^= 1
    (testbed.directory / "images" / "bad.ndz").write_bytes(damaged)
    checked = testbed.run("rhubarbe-images", "--check")
    assert checked.returncode == 1
    assert f"whole: {len(whole) >> 20} chunks" in checked.stdout
    assert re.search(r"DAMAGED: \S+bad\.ndz: chunk 1: ", checked.stdout)
    told = json.loads(testbed.run("rhubarbe-images", "--check", "--json").stdout)
    assert [("bad" in (each["damage"] or "")) for each in told[0]["images"]] == [True, False]


def test_an_image_without_seals_is_said_to_be_so(make_testbed):
    testbed = make_testbed("--nodes", "1")
    whole = bytearray((testbed.directory / "images" / "sample.ndz").read_bytes())
    whole[4032:4040] = bytes(8)
    (testbed.directory / "images" / "old.ndz").write_bytes(whole)
    lines = testbed.run("rhubarbe-images").stdout.splitlines()
    assert [line.split()[3:] for line in lines[1:]] == [
        ["old", "not", "sealed"],
        ["sample", "a.k.a.", "default"],
    ]


def test_a_name_is_resolved_and_near_names_are_offered(site):
    images = site.directory / "images"
    asked = {
        ("sample",): f"{images}/sample.ndz\n",
        ("default", "mywork.ndz"): f"{images}/default.ndz\n{site.directory}/mywork.ndz\n",
        ("-r", "default"): f"{images}/sample.ndz\n",
    }
    for words, answer in asked.items():
        assert site.run("rhubarbe-resolve", *words).stdout == answer
    for command in (["rhubarbe-resolve"], ["rhubarbe-load", "1", "-i"]):
        missed = site.run(*command, "smaple")
        assert missed.returncode == 1
        (line,) = missed.stderr.splitlines()
        assert line.endswith("near names: sample")


def test_share_says_what_it_would_do_then_does_it(make_testbed):
    testbed = make_testbed("--nodes", "1")
    here, there = testbed.directory, testbed.directory / "images"
    (here / "mine.ndz").write_bytes((there / "sample.ndz").read_bytes())
    steps = [
        f"check {here}/mine.ndz",
        f"make {there}/ours.ndz from {here}/mine.ndz",
        f"let {there}/new.ndz be ours.ndz",
    ]
    command = ["rhubarbe-share", "mine", "-o", "ours", "-a", "new"]
    dry = testbed.run(*command, "-n")
    assert (dry.returncode, dry.stdout.splitlines()) == (0, [f"would {step}" for step in steps])
    assert (here / "mine.ndz").exists()
    done = testbed.run(*command)
    assert (done.returncode, done.stdout.splitlines()) == (0, steps), done.stderr
    assert not (here / "mine.ndz").exists()
    assert testbed.run("rhubarbe-resolve", "-r", "new").stdout == f"{there}/ours.ndz\n"
    again = testbed.run("rhubarbe-share", "ours", "-o", "sample")
    assert again.returncode == 1
    (line,) = again.stderr.splitlines()
    assert "exists already" in line
