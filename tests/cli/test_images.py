"""The list of images, where what is in an image cannot be seen."""

import json

import pytest

from rhubarbe.cli import images
from rhubarbe.cli.dispatch import main


@pytest.fixture
def locked(tmp_path, monkeypatch):
    """A directory of one image that may not be read."""

    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(images, "image_id", refuse)
    conf = tmp_path / "site.conf"
    conf.write_text(f"[frisbee]\nimages_dir = {tmp_path}\n")
    conf.chmod(0o600)
    monkeypatch.setenv("RHUBARBE_CONF", str(conf))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.ndz").touch()


@pytest.mark.usefixtures("locked")
def test_an_image_that_may_not_be_read_is_said_to_be_so(capsys):
    assert main(["rhubarbe-images"]) == 0
    assert capsys.readouterr().out.splitlines()[1].endswith("  mine  not readable")
    assert main(["rhubarbe-images", "--json"]) == 0
    (told,) = json.loads(capsys.readouterr().out)[0]["images"]
    assert (told["name"], told["sealed"], told["id"]) == ("mine", False, None)
