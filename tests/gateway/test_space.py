"""How much a save may write: what is free, as far as that is known."""

import os
import resource
import subprocess
import sys

import pytest

from rhubarbe.gateway.checks.space import free_space

TELL = """
import sys
from pathlib import Path
from rhubarbe.gateway.checks.space import free_space
print(free_space(Path(sys.argv[1])))
"""


def told(directory, *before):
    """Return what a process of its own is told, that is limited before."""
    done = subprocess.run(
        [*before, sys.executable, "-c", TELL, directory],
        capture_output=True, text=True, check=True, timeout=30,
    )  # fmt: skip
    return int(done.stdout)


def test_it_is_what_df_tells(tmp_path):
    if resource.getrlimit(resource.RLIMIT_FSIZE)[0] != resource.RLIM_INFINITY:
        pytest.skip("files are limited here")
    df = ["df", "--output=size,used,avail", "--block-size=1", tmp_path]
    size, used, available = map(int, subprocess.check_output(df, text=True).split()[-3:])
    slack = 512 << 20  # others write meanwhile
    assert abs(free_space(tmp_path) - (available if os.getuid() else size - used)) < slack


def test_a_limit_on_files_counts_as_well(tmp_path):
    assert told(tmp_path, "sh", "-c", 'ulimit -f 2048; exec "$@"', "sh") in (1 << 20, 2 << 20)


def test_a_small_disk_has_no_more(tmp_path):
    mount = (
        f"mount -t tmpfs -o size=3m tmpfs {tmp_path} && fallocate -l 1m {tmp_path}/full"
        f' && exec "$@"'
    )
    if os.getuid():
        pytest.skip("only root mounts a disk")
    before = ("unshare", "-m", "--propagation", "private", "sh", "-c", mount, "sh")
    assert told(tmp_path, *before) == 2 << 20


def test_who_tells_nothing_of_itself_is_not_taken_for_full(tmp_path, monkeypatch):
    real = os.statvfs(tmp_path)
    fields = [*real]
    fields[2:5] = 0, 0, 0
    monkeypatch.setattr(os, "statvfs", lambda _: os.statvfs_result(fields))
    assert free_space(tmp_path) in (None, resource.getrlimit(resource.RLIMIT_FSIZE)[0])
