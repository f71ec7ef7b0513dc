"""Whoever looks after a gateway is told which shared directory is wrong, and what to do."""

import os
import subprocess

import pytest

from rhubarbe.cli.dispatch import main

as_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can give a directory away")


@pytest.fixture
def site(tmp_path, monkeypatch):
    for name, mode in (("state", 0o1777), ("pxelinux.cfg", 0o2775), ("images", 0o755)):
        (tmp_path / name).mkdir()
        (tmp_path / name).chmod(mode)
    conf = tmp_path / "rhubarbe.conf"
    conf.write_text(
        f"[testbed]\nstate_dir = {tmp_path}/state\n[pxelinux]\nconfig_dir = {tmp_path}/pxelinux.cfg"
        f"\n[frisbee]\nimages_dir = {tmp_path}/images\n"
    )
    conf.chmod(0o600)
    monkeypatch.setenv("RHUBARBE_CONF", str(conf))
    return tmp_path


def told(capsys):
    status = main(["rhubarbe-config", "--check-state"])
    lines = capsys.readouterr().out.splitlines()
    assert status == (lines != ["the directories that users share are as they should be"])
    return lines if status else []


def test_all_well(site, capsys):
    assert told(capsys) == []


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (
            "rmdir state",
            "No such file or directory (state_dir in [testbed]); as root: mkdir -p {}/state;"
            " chmod 1777 {}/state",
        ),
        ("chmod 777 state", "chmod +t"),
        ("rm -r state; ln -s images state", "is a link; configure what it leads to"),
        ("mkdir -m 777 state/%d", "others can write what"),
        ("mkdir state/links", "an earlier version kept it"),
        ("touch state/leases.0.sqlite", "an earlier version kept it"),
        ("chmod 1777 pxelinux.cfg", "anybody can make nodes boot anything"),
        ("chmod 3775 pxelinux.cfg", "nobody but root can remove another's dead link"),
        (
            "rmdir pxelinux.cfg",
            "(config_dir in [pxelinux]); as root: mkdir -p {}/pxelinux.cfg; groupadd -f rhubarbe;"
            " chgrp rhubarbe {}/pxelinux.cfg; chmod 2775 {}/pxelinux.cfg",
        ),
        (
            "mkdir -m 777 a; mv images a; ln -s a/images images",
            "/a: anybody could replace {}/a/images",
        ),
        ("chmod 777 .", "{}: anybody could replace {}/state; as root: chmod +t {}"),
        ("chmod 777 images", "chmod +t"),
        ("rmdir images", "(images_dir in [frisbee]); as root: mkdir -p {}/images"),
    ],
)
def test_each_fault_is_a_line_with_its_cure(site, capsys, make, says):
    subprocess.run(["sh", "-c", make.replace("%d", str(os.getuid()))], cwd=site, check=True)
    line, *more = told(capsys)
    assert says.replace("{}", str(site)) in line
    assert not more or "chmod 777 ." in make


@as_root
@pytest.mark.parametrize(
    ("make", "says"),
    [
        ("chown 4001 state", "chown root"),
        ("chmod 755 state", "only root can note anything there"),
        ("mkdir state/4002; chown 4001 state/4002", "belongs to uid 4001, though it has the name"),
        ("chown 4001 pxelinux.cfg", "chown root"),
        ("chown 4001 images", "chown root"),
        (
            "mkdir -m 775 a; chgrp 4001 a; mv images a; ln -s a/images images",
            "/a: others of its group could replace",
        ),
        (
            "mkdir a; mv images a; ln -s a/images images; chown 4001 a",
            "/a: belongs to uid 4001, who could replace",
        ),
    ],
)
def test_what_is_another_s_is_a_line_too(site, capsys, make, says):
    subprocess.run(["sh", "-c", make], cwd=site, check=True)
    (line,) = told(capsys)
    assert says in line
