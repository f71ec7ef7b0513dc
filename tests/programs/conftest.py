"""Emulated testbeds for the tests: one with twelve good nodes a module, or any made to order."""

import shutil

import pytest
from emulated import start_testbed


@pytest.fixture
def make_testbed(tmp_path_factory):
    """Start testbeds with any options; all end with the test."""
    running = []

    def make(*options):
        running.append(start_testbed(tmp_path_factory.mktemp("testbed"), *options))
        return running[-1]

    yield make
    for testbed in running:
        testbed.end()
        shutil.rmtree(testbed.directory, ignore_errors=True)


@pytest.fixture(scope="module")
def twelve(tmp_path_factory):
    """Twelve good nodes, for all the tests of a module."""
    testbed = start_testbed(
        tmp_path_factory.mktemp("twelve"), "--nodes", "12", "--boot-time", "0.7"
    )
    yield testbed
    testbed.end()
    shutil.rmtree(testbed.directory, ignore_errors=True)
