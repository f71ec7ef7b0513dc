"""The configuration: layers, precedence, refusals that name file, section and key."""

import os
import re
from pathlib import Path

import pytest

from rhubarbe.config import Settings, configuration_files


def bandwidth(value):
    return f"[networking]\nbandwidth = {value}\n"


def test_the_layers_of_a_user():
    environ = {"HOME": "/home/ada"}
    here = Path.cwd() / "rhubarbe.conf"
    assert list(configuration_files(environ)) == [
        (Path("/etc/rhubarbe/rhubarbe.conf"), False),
        (Path("/etc/rhubarbe/rhubarbe.conf.local"), False),
        (Path("/home/ada/.rhubarbe.conf"), True),
        (here, True),
        (here.with_name("rhubarbe.conf.local"), True),
    ]
    *_, home, last = configuration_files(environ | {"RHUBARBE_CONF": "/srv/other.conf"})
    assert home == (Path("/home/ada/.rhubarbe.conf"), True)
    assert last == (Path("/srv/other.conf"), True)
    assert len(list(configuration_files({}))) == 4


def test_without_any_file_the_defaults_hold(site):
    settings = site.load()
    assert settings == Settings()
    assert settings.networking.bandwidth == 500
    assert settings.frisbee.server == "rhubarbe-frisbeed"


def test_later_layers_win(site):
    for rank, layer in enumerate(("etc", "local", "home", "here", "here, local"), 1):
        path = site.write(layer, bandwidth(rank))
        settings = site.load()
        assert settings.networking.bandwidth == rank
        assert settings.origins["networking", "bandwidth"] == str(path)
        assert settings.networking.pattern_size == 20


def test_the_named_file_stands_instead_of_the_one_here(site):
    site.write("home", "[networking]\npattern_size = 3\n")
    site.write("here", bandwidth(1) + "pattern_size = 4\n")
    site.environ["RHUBARBE_CONF"] = str(site.write("named", bandwidth(2)))
    settings = site.load()
    assert (settings.networking.bandwidth, settings.networking.pattern_size) == (2, 3)


def test_a_named_file_that_is_missing_is_an_error(site):
    site.environ["RHUBARBE_CONF"] = str(site.files["named"])
    assert site.refusal() == f"{site.files['named']}: no such file; $RHUBARBE_CONF names it"
    site.environ["RHUBARBE_CONF"] = "x" * 5000
    assert "no such file" in site.refusal()


@pytest.mark.parametrize("key", ["bandwidth.faraday", "bandwidth.Faraday"])
def test_the_value_for_this_host_beats_the_general_one_of_any_layer(site, key):
    etc = site.write("etc", f"{bandwidth(10)}{key} = 20\nbandwidth.bemol = 30\n")
    site.write("here", bandwidth(40))
    settings = site.load()
    assert settings.networking.bandwidth == 20
    assert str(etc) in settings.origins["networking", "bandwidth"]


def test_the_later_of_two_values_for_this_host_wins(site):
    site.write("etc", "[networking]\nbandwidth.faraday = 20\n")
    site.write("here", "[networking]\nbandwidth.faraday = 50\n")
    assert site.load().networking.bandwidth == 50


def test_a_value_for_another_host_is_checked_too(site):
    site.write("etc", "[networking]\nbandwidth.bemol = fast\n")
    assert "bandwidth.bemol" in site.refusal()


def test_values_are_typed(site):
    site.write(
        "here",
        "[nodes]\ncmc_default_timeout = 0.5\n[testbed]\ninventory_path = ~/inventory.json\n"
        "[networking]\nssh_key =\npattern_port = 7000+*\n",
    )
    settings = site.load()
    assert settings.nodes.cmc_default_timeout == 0.5
    assert settings.testbed.inventory_path == Path("~/inventory.json").expanduser()
    assert settings.networking.ssh_key == ""
    assert settings.networking.pattern_port == "7000+*"


def test_a_directory_may_end_in_a_slash(site):
    site.write("here", "[testbed]\nstate_dir = /srv/state//\n[frisbee]\nimages_dir = /\n")
    settings = site.load()
    found = settings.testbed.state_dir, settings.frisbee.images_dir
    assert tuple(map(str, found)) == ("/srv/state", "/")


def test_percent_signs_and_semicolons_are_only_text(site):
    site.write("here", "[frisbee]\nserver_options = -K 3 -x %d %(y)s ${z}\n")
    assert site.load().frisbee.server_options == "-K 3 -x %d %(y)s ${z}"


def test_a_node_may_have_its_own_boot_entry(site):
    site.write("etc", "[pxelinux]\nfrisbee_image.fit03 = pxeold\nfrisbee_image.Fit04 = pxe4\n")
    site.write("here", "[pxelinux]\nfrisbee_image = pxenew\nfrisbee_image.fit05 = pxe5\n")
    settings = site.load()
    nodes = {"fit01": 1, "fit03": 3, "fit04": 4, "fit05": 5, "Fit05": 5}
    entries = [settings.for_node(nodes[name], name).pxelinux.frisbee_image for name in nodes]
    assert entries == ["pxenew", "pxeold", "pxe4", "pxe5", "pxe5"]


def test_settings_are_frozen(site):
    with pytest.raises(AttributeError):
        site.load().networking.bandwidth = 3


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[networking]\nbandwith = 3\n", ["[networking]", "'bandwith'", "did you mean bandwidth?"]),
        ("[networking]\nxyzzy = 3\n", ["'xyzzy'", "known ones are", "telnet_port"]),
        ("[network]\nbandwidth = 3\n", ["unknown section [network]", "did you mean networking?"]),
        ("[DEFAULT]\nbandwidth = 3\n", ["unknown section [DEFAULT]"]),
        ("[networking]\nbandwidth = fast\n", ["bandwidth", "'fast'", "a whole number from 1 on"]),
        ("[networking]\nbandwidth = 0\n", ["'0'", "from 1 on"]),
        ("[networking]\nbandwidth =\n", ["''", "from 1 on"]),
        ("[networking]\ntelnet_port = 65536\n", ["telnet_port", "a port from 1 to 65535"]),
        ("[frisbee]\nserver_options = -K '3\n", ["server_options", "quotes in pairs"]),
        ("[networking]\npattern_multicast = 234.5.6.7\n", ["pattern_multicast", "with one *"]),
        ("[networking]\npattern_port = __import__('os')\n", ["pattern_port", "10000 + *"]),
        ("[networking]\npattern_port = 99999 + *\n", ["pattern_port", "10000 + *"]),
        ("[nodes]\nreset_timeout = -1\n", ["reset_timeout", "seconds from 0 on"]),
        ("[nodes]\nreset_timeout = nan\n", ["reset_timeout", "seconds from 0 on"]),
        ("[nodes]\nreset_timeout = inf\n", ["reset_timeout", "seconds from 0 on"]),
        ("[frisbee]\nserver =\n", ["server", "not empty"]),
        ("[testbed]\ninventory_path =\n", ["inventory_path", "a path"]),
        ("[testbed]\nstate_dir = ~nobody-is-called-so/x\n", ["state_dir", "a path"]),
        ("bandwidth = 3\n", ["line 1 is before any [section]"]),
        ("[nodes]\nprobe\n", ["line 2 is neither `key = value` nor a [section]"]),
        ("[nodes]\n[frisbee]\n[nodes]\n", ["line 3: section [nodes] for the second time"]),
        (
            "[frisbee]\nclient = a\nclient = b\n",
            ["line 3: section [frisbee], key client: for the second time"],
        ),
        ("[networking]\n\nbandwidth\n", ["line 3 is neither"]),
    ],
)
def test_what_is_wrong_is_named(site, text, says):
    path = site.write("here", text)
    refusal = site.refusal()
    assert all(words in refusal for words in [str(path), *says]), refusal


def test_a_file_that_is_no_configuration_is_refused(site):
    site.files["here"].write_bytes(b"\xff\xfe")
    site.files["here"].chmod(0o600)
    assert "is before any [section]" in site.refusal()


@pytest.mark.parametrize(
    "text",
    [
        "root:$6$s3cr3t:20421:0:99999:7:::\n",
        "s3cr3t\n",
        "[section]\ns3cr3t\n",
        "[s\n  s3cr3t\n",
        "[nodes]\nreset_timeout = 3\n= s3cr3t\n",
        "\0s3cr3t\n",
    ],
)
def test_a_link_to_what_is_no_configuration_tells_nothing_of_it(site, tmp_path, text):
    """Such as the passwords of a system, read with the rights of root, or of a group."""
    secret = tmp_path / "secret"
    secret.write_text(text)
    secret.chmod(0o600)
    site.files["here"].symlink_to(secret)
    refusal = site.refusal()
    assert "s3cr3t" not in refusal
    assert re.search(r"here.*: line \d is (before|neither)|conf: line \d is", refusal)


@pytest.mark.parametrize(
    "text",
    [
        "admin_token = s3cr3t\n",
        "[r2labapi]\nadmin_token s3cr3t\n",
        "[r2labapi]\n'admin_token': s3cr3t'\n",
        "[r2labapi]\nadmin_token = !fil s3cr3t\n",
        "[r2labapi]\nadmin_token = !command pass 's3cr3t\n",
        "[r2labapi]\nadmin_token = s3cr3t\nadmin_token = s3cr3t\n",
        "[r2labapi]\nAdmin-token = s3cr3t\n",
        "[r2labapi]\nurl = https://ada:s3cr3t@reservations.example.org/\n",
        "[r2labapi]\nurl = http://s3cr3t@10.0.0.1:8080\n",
    ],
)
def test_what_may_be_a_secret_is_not_quoted(site, text):
    site.write("here", text)
    assert "s3cr3t" not in site.refusal()


def test_comments_and_names_of_files_may_be_no_utf_8(site):
    path = b"/srv/donn\xe9es"
    site.files["here"].write_bytes(b"# r\xe9glages\n[frisbee]\nimages_dir = " + path + b"\n")
    site.files["here"].chmod(0o600)
    assert os.fsencode(site.load().frisbee.images_dir) == path


def test_what_older_files_hold_is_accepted(site):
    site.write(
        "etc",
        "[nodes]\nload_nightly = 150\nwait_nightly.faraday = 40\n[frisbee]\nnetcat_style = fedora\n"
        "[authorization]\nleases_port = 12346\n[accounts]\ncycle = 60\n"
        "[networking]\nbandwidth = 90\n",
    )
    settings = site.load()
    assert settings.networking.bandwidth == 90
    assert set(settings.origins) == {("networking", "bandwidth")}


@pytest.mark.usefixtures("in_a_group_of_many")
@pytest.mark.parametrize("layer", ["home", "here", "named"])
@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_personal_file_that_others_can_write_is_refused(site, layer, mode):
    path = site.write(layer, bandwidth(3))
    if layer == "named":
        site.environ["RHUBARBE_CONF"] = str(path)
    path.chmod(mode)
    assert site.refusal().startswith(f"{path}: refused, because others can write it")
    path.chmod(0o644)
    assert site.load().networking.bandwidth == 3


@pytest.mark.usefixtures("in_a_group_of_ours")
@pytest.mark.parametrize("umask", [0o002, 0o022, 0o077])
def test_a_personal_file_may_be_as_debian_makes_it(site, umask):
    before = os.umask(umask)
    try:
        site.files["here"].write_text(bandwidth(3))
    finally:
        os.umask(before)
    assert site.load().networking.bandwidth == 3


def test_a_site_s_file_may_be_its_group_s_and_not_everybody_s(site):
    path = site.write("etc", bandwidth(3))
    path.chmod(0o664)
    assert site.load().networking.bandwidth == 3
    path.chmod(0o646)
    assert site.refusal().startswith(f"{path}: refused, because others can write it")


def test_a_personal_file_of_somebody_else_is_refused(site, monkeypatch):
    path = site.write("here", bandwidth(3))
    if os.getuid():
        monkeypatch.setattr(os, "getuid", lambda: os.geteuid() + 1)
    else:
        os.chown(path, 65534, -1)
    refusal = site.refusal()
    assert str(path) in refusal
    assert "neither you nor root" in refusal


@pytest.mark.parametrize("kind", ["pipe", "directory", "dangling link"])
def test_what_is_no_file_is_no_configuration(site, kind):
    path = site.files["here"]
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    else:
        path.symlink_to("nowhere")
    assert site.load().networking.bandwidth == Settings().networking.bandwidth


def test_a_file_without_end_is_refused(site):
    site.write("here", bandwidth(3))
    with site.files["here"].open("ab") as stream:
        stream.truncate(1 << 40)
    assert "larger than" in site.refusal()


def test_a_link_of_somebody_else_is_refused(site, monkeypatch):
    path = site.write("named", bandwidth(3))
    site.files["here"].symlink_to(path)
    assert site.load().networking.bandwidth == 3
    if os.getuid():
        pytest.skip("only root can give a link away")
    os.lchown(site.files["here"], 65534, -1)
    assert "refused" in site.refusal()


def test_a_home_that_may_not_be_entered_has_no_file(site, monkeypatch):
    site.write("here", bandwidth(3))
    stat = os.stat

    def picky(path, **options):
        if path == str(site.files["home"]):
            raise PermissionError(13, "Permission denied", path)
        return stat(path, **options)

    monkeypatch.setattr(os, "stat", picky)
    assert site.load().networking.bandwidth == 3


def test_a_current_directory_that_was_removed_is_told(site, tmp_path):
    Path.cwd().rmdir()
    assert site.refusal().startswith("the current directory: No such file or directory; cd to")


def test_a_site_that_asks_for_leases_asks_all_its_users(site):
    etc = site.write("etc", "[leases]\nbackend = local\n")
    here = site.write("here", "[leases]\ntimeout = 2\n")
    assert (site.load().leases.backend, site.load().leases.timeout) == ("local", 2)
    site.write("home", "[leases]\nbackend = none\n")
    assert site.refusal() == (
        f"{site.files['home']}: section [leases], key backend: {etc} decides this for all users;"
        " remove it here"
    )
    site.files["home"].unlink()
    here.write_text("[leases]\nbackend.faraday = none\n")
    assert "decides this for all users" in site.refusal()
    etc.write_text("")
    assert site.load().leases.backend == "none"


PRIVILEGED = "[accounts]\nprivileged = root, guest\n"


@pytest.mark.skipif(os.getuid() != 0, reason="only root writes files of root's")
def test_who_is_privileged_only_root_can_say(site):
    etc = site.write("etc", PRIVILEGED)
    assert site.load().accounts.privileged == ("root", "guest")
    for layer in ("home", "here"):
        site.write(layer, "[accounts]\nprivileged = eve\nprivileged.faraday = eve\n")
    settings = site.load()
    assert settings.accounts.privileged == ("root", "guest")
    assert settings.origins["accounts", "privileged"] == str(etc)
    assert [notice.partition(": ")[0] for notice in settings.notices] == [
        str(site.files[layer]) for layer in ("home", "here")
    ]
    assert (
        "[accounts] privileged, [accounts] privileged.faraday (counts only" in settings.notices[0]
    )
    site.write("local", "[accounts]\nprivileged.faraday = ada grace\n")
    assert site.load().accounts.privileged == ("ada", "grace")


@pytest.mark.skipif(os.getuid() != 0, reason="only root writes files of root's")
@pytest.mark.parametrize("spoil", ["owner", "group"])
def test_in_a_file_that_others_could_write_nobody_is_privileged(site, spoil, monkeypatch):
    etc = site.write("etc", PRIVILEGED + "[networking]\nbandwidth = 7\n")
    if spoil == "group":
        etc.chmod(0o660)
    else:
        os.chown(etc, 4001, -1)
        monkeypatch.setattr(os, "getuid", lambda: 4001)
    settings = site.load()
    assert (settings.accounts.privileged, settings.networking.bandwidth) == ((), 7)


def drive(site, number=7, disk=""):
    return site.load().for_node(number, f"fit{number:02d}", disk).frisbee.hard_drive


@pytest.mark.parametrize("nodes", ["fit07", "FIT07", "7", "reboot7", "1-12", "1-11-2", "3,7"])
def test_a_node_may_have_its_own_disk(site, nodes):
    site.write("here", f"[frisbee]\nhard_drive.{nodes} = /dev/nvme0n1\nhard_drive = /dev/sdb\n")
    assert drive(site) == "/dev/nvme0n1"
    assert drive(site, 8) == ("/dev/nvme0n1" if nodes == "1-12" else "/dev/sdb")


def test_of_several_values_the_one_for_the_fewest_nodes_counts(site):
    site.write("etc", "[frisbee]\nhard_drive.7 = /dev/one\nhard_drive.1-12 = /dev/many\n")
    site.write("here", "[frisbee]\nhard_drive.1-9 ~8 = /dev/few\nhard_drive = /dev/all\n")
    found = [drive(site, number) for number in (7, 9, 8, 13)]
    assert found == ["/dev/one", "/dev/few", "/dev/many", "/dev/all"]
    assert drive(site, 7, "smallest") == "/dev/one"
    assert drive(site, 13, "smallest") == "smallest"


def test_a_node_beats_the_gateway(site):
    site.write("here", "[frisbee]\nhard_drive.faraday = /dev/g\nhard_drive.fit07 = /dev/n\n")
    assert (drive(site), drive(site, 8)) == ("/dev/n", "/dev/g")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[networking]\nbandwidth.fit01 = 3\n", "bandwidth cannot differ from node to node"),
        ("[networking]\nbandwidth.1-12 = 3\n", "these can: "),
        ("[frisbee]\nhard_drive.fit = /dev/sdb\n", "names no node: its number lacks"),
        ("[frisbee]\nhard_drive. = /dev/sdb\n", "names no node"),
        ("[frisbee]\nhard_drive.fit01 = sdb\n", "expected a path such as"),
        ("[frisbee]\nhard_drive.fit01 = speed>=3\n", "bad value 'speed>=3'"),
        ("[frisbee]\nroot_partition.fit01 = sdb1\n", "expected the number of a partition"),
        ("[frisbee]\nharddrive.fit01 = /dev/sdb\n", "did you mean hard_drive?"),
    ],
)
def test_a_key_for_nodes_that_is_not_known_is_refused(site, text, words):
    site.write("here", text)
    assert words in site.refusal()


def test_keys_for_ever_more_nodes_end_before_memory_does(site):
    keys = (f"hard_drive.{first}-{first + 40000} = /dev/sdb" for first in range(1, 3001))
    site.write("here", "[frisbee]\n" + "\n".join(keys))
    assert "key.NODES for more than 1000000 nodes in all" in site.refusal()


def test_a_gateway_that_is_called_as_nodes_are_is_ambiguous(site, monkeypatch):
    site.write("here", "[frisbee]\nhard_drive.fit07 = /dev/sdb\n")
    assert drive(site) == "/dev/sdb"
    monkeypatch.setattr("os.uname", lambda: type("Names", (), {"nodename": "fit07.example"}))
    assert "fit07 is this gateway, and it selects nodes, too" in site.refusal()
