"""Faults as they are written, and as they wear off."""

import math

import pytest

from rhubarbe.annexe.errors import Misused
from rhubarbe.testbed.faults import KNOWN, Fault, Faults, by_node, parse


def test_a_fault_happens_always_or_so_many_times():
    assert parse("fit03:card-lies") == Fault("fit03", "card-lies", math.inf)
    assert parse("fit03:card-500*2") == Fault("fit03", "card-500", 2)


@pytest.mark.parametrize("name", KNOWN)
def test_every_known_fault_can_be_written(name):
    assert parse(f"fit01:{name}*1").name == name


@pytest.mark.parametrize(
    "text",
    ["fit03", "fit03:", ":card-lies", "fit03:card-lies*0", "fit03:card-lies*x", "fit03:rust"],
)
def test_other_words_are_refused(text):
    with pytest.raises(Misused) as refused:
        parse(text)
    assert refused.value.exit_code == 2
    assert "\n" not in str(refused.value)


def test_faults_wear_off():
    faults = Faults({"card-lies": 2, "card-500": math.inf})
    assert [faults.take("card-lies") for _ in range(3)] == [True, True, False]
    assert all(faults.take("card-500") for _ in range(9))
    assert faults.left("card-500") == "always"
    assert faults.left("card-lies") == "0"
    assert not faults.take("slow-boot")


def test_faults_are_sorted_by_node_and_add_up():
    faults = by_node([parse("fit01:card-500*1"), parse("fit01:card-500*2")], ["fit01", "fit02"])
    assert faults["fit01"].left("card-500") == "3"
    assert not faults["fit02"].has("card-500")


def test_a_fault_of_a_node_that_is_not_there_is_refused():
    with pytest.raises(Misused, match="fit09"):
        by_node([parse("fit09:card-500")], ["fit01"])
