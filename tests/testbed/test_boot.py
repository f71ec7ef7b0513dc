"""The life of a machine: every state with every key, and the boot order."""

import pytest

from rhubarbe.testbed.boot import (
    Found,
    Key,
    MachineState,
    after_key,
    boot_order,
    link_name,
    reaches_entry,
    restarts,
)

ON = [MachineState.BOOTING, MachineState.RAMDISK, MachineState.DISK, MachineState.DEAD]


@pytest.mark.parametrize("state", ON)
def test_keys_of_a_machine_that_is_on(state):
    assert after_key(state, Key.ON) is state
    assert after_key(state, Key.OFF) is MachineState.OFF
    assert after_key(state, Key.RESET) is MachineState.BOOTING
    assert restarts(state, Key.RESET)
    assert not restarts(state, Key.ON)


def test_only_on_wakes_a_machine_that_is_off():
    assert after_key(MachineState.OFF, Key.ON) is MachineState.BOOTING
    for key in (Key.OFF, Key.RESET):
        assert after_key(MachineState.OFF, key) is MachineState.OFF
        assert not restarts(MachineState.OFF, key)


def test_what_the_card_says_of_each_state():
    assert [state for state in MachineState if not state.has_power] == [MachineState.OFF]


def test_the_link_has_the_address_in_lower_case():
    assert link_name("02:AB:10:01:00:0F") == "01-02-ab-10-01-00-0f"


@pytest.mark.parametrize(
    ("target", "found"),
    [
        (None, False),
        ("pxefrisbee", True),
        ("gone", False),
        ("/tftpboot/pxelinux.cfg/pxefrisbee", False),
    ],
)
def test_only_a_relative_link_to_something_leads_anywhere(target, found):
    present = {"pxefrisbee", "/tftpboot/pxelinux.cfg/pxefrisbee"}
    assert reaches_entry(target, present.__contains__) is found


def test_the_network_comes_before_the_disk():
    assert boot_order(entry=True, disk_boots=True) is Found.RAMDISK
    assert boot_order(entry=False, disk_boots=True) is Found.DISK
    assert boot_order(entry=False, disk_boots=False) is Found.NOTHING
