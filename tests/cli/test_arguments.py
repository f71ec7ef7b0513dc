"""Which nodes a command line and the environment select."""

import pytest

from rhubarbe.cli.arguments import one_node, selected_entries
from rhubarbe.config import Settings
from rhubarbe.config import settings as declared
from rhubarbe.errors import SelectionError
from rhubarbe.inventory import Entry, Interface, Inventory

SETTINGS = Settings(testbed=declared.TestbedSettings(all_scope="1-6 ~5"))


def entry(number):
    control = Interface(f"fit{number:02}", f"10.0.3.{number}", f"02:00:00:00:00:{number:02x}")
    return Entry(number, control, Interface(f"reboot{number:02}", f"10.0.1.{number}", ""), None)


INVENTORY = Inventory(map(entry, range(1, 9)), "inventory.json")


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    for name in ("NODES", "ALL_NODES"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def selected(*words, all_nodes=False, settings=SETTINGS):
    entries = selected_entries(settings, INVENTORY, list(words), all_nodes=all_nodes)
    return [entry.number for entry in entries]


def test_words_select():
    assert selected("1-3", "fit05", "~2") == [1, 3, 5]


def test_without_words_nodes_selects(environment):
    environment.setenv("NODES", "fit02  4\n6-7 ~6")
    assert selected() == [2, 4, 7]


def test_words_replace_nodes(environment):
    environment.setenv("NODES", "1-8")
    assert selected("3") == [3]


def test_all_is_the_scope_of_the_configuration():
    assert selected(all_nodes=True) == [1, 2, 3, 4, 6]


def test_all_is_the_environment_s_where_it_says(environment):
    environment.setenv("ALL_NODES", "2-4 8")
    assert selected(all_nodes=True) == [2, 3, 4, 8]
    environment.setenv("ALL_NODES", "")
    assert selected(all_nodes=True) == [1, 2, 3, 4, 6]


def test_all_less_some(environment):
    assert selected("~4", "~1-2", all_nodes=True) == [3, 6]
    environment.setenv("ALL_NODES", "1-5")
    assert selected("~4", all_nodes=True) == [1, 2, 3, 5]
    assert selected("~4", "8", all_nodes=True) == [1, 2, 3, 5, 8]


def test_all_does_not_add_nodes(environment):
    environment.setenv("NODES", "8")
    assert 8 not in selected(all_nodes=True)


@pytest.mark.parametrize("words", [[], ["~3"], ["3", "~3"]])
def test_an_empty_selection_is_refused(words):
    with pytest.raises(SelectionError, match="no node is selected"):
        selected(*words)


def test_an_empty_environment_selects_nothing(environment):
    environment.setenv("NODES", " ")
    with pytest.raises(SelectionError, match=r"no node is selected.*\$NODES"):
        selected()


@pytest.mark.parametrize("name", ["NODES", "ALL_NODES"])
def test_a_bad_word_of_the_environment_is_refused(environment, name):
    environment.setenv(name, "1 fit")
    with pytest.raises(SelectionError, match="'fit' selects no node"):
        selected(all_nodes=name == "ALL_NODES")


def test_a_node_that_the_inventory_lacks_is_refused():
    with pytest.raises(SelectionError, match="not in the inventory: 9-12"):
        selected("1-12")


def test_the_site_s_names_are_those_of_the_configuration():
    settings = Settings(testbed=declared.TestbedSettings(regularname="pc", rebootname="power"))
    assert selected("pc3", "power04", settings=settings) == [3, 4]
    with pytest.raises(SelectionError):
        selected("fit3", settings=settings)


def test_one_node():
    assert one_node(SETTINGS, INVENTORY, "fit04").number == 4
    with pytest.raises(SelectionError, match="1-3 selects 3 nodes: one is saved at a time"):
        one_node(SETTINGS, INVENTORY, "1-3")
    with pytest.raises(SelectionError, match="no node is selected"):
        one_node(SETTINGS, INVENTORY, "~3")
