"""A place with all the layers of a configuration."""

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from rhubarbe.config import configuration_files, implied, layers, load_settings
from rhubarbe.errors import ConfigError


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A place with all the layers, none of which exists yet."""
    monkeypatch.setattr(os, "uname", lambda: SimpleNamespace(nodename="Faraday.inria.fr"))
    return Site(tmp_path, monkeypatch)


class Site:
    def __init__(self, root, monkeypatch):
        self.environ = {"HOME": str(root / "home")}
        (root / "home").mkdir()
        (root / "here").mkdir()
        monkeypatch.chdir(root / "here")
        self.files = {
            "etc": root / "rhubarbe.conf",
            "local": root / "rhubarbe.conf.local",
            "home": root / "home" / ".rhubarbe.conf",
            "here": root / "here" / "rhubarbe.conf",
            "here, local": root / "here" / "rhubarbe.conf.local",
            "named": root / "named.conf",
        }
        rest = list(configuration_files(self.environ))[2:]
        etc = [(str(self.files["etc"]), False), (str(self.files["local"]), False)]
        self.inventory = root / "inventory-nodes.yaml"
        monkeypatch.setattr(implied, "INVENTORIES", (self.inventory,))
        monkeypatch.setattr(layers, "configuration_files", lambda environ: iter([
            *etc, *list(configuration_files(environ))[2:]
        ]))  # fmt: skip
        assert [Path(path) for path, _ in rest] == [
            self.files[layer] for layer in ("home", "here", "here, local")
        ]

    def write(self, layer, text):
        path = self.files[layer]
        path.write_text(text)
        path.chmod(0o600)
        return path

    def load(self):
        return load_settings(self.environ)

    def refusal(self):
        with pytest.raises(ConfigError, match=r"\A[^\n]+\Z") as caught:
            self.load()
        return str(caught.value)
