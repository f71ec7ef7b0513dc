import pytest

from rhubarbe.imaging.inuse import use_of


@pytest.fixture
def machine(tmp_path):
    """A disk 8:0 with partitions 8:1, mounted, and 8:2; a disk 8:16; a disk 8:32 under a volume."""
    proc, sysfs = tmp_path / "proc", tmp_path / "sys"
    (proc / "self").mkdir(parents=True)
    (proc / "self" / "mountinfo").write_text(
        "22 1 8:1 / /srv rw shared:1 - ext4 /dev/sda1 rw\n"
        "23 1 0:31 / /data rw - btrfs /dev/sde rw\n"
        "24 1 0:32 / /sdb rw - tmpfs sdb rw\n"
    )
    (proc / "swaps").write_text("Filename Type Size Used Priority\n/dev/sdd1 partition 9 0 -2\n")
    by_number = sysfs / "dev" / "block"
    by_number.mkdir(parents=True)
    disks = {
        "sda": ("8:0", 2),
        "sdb": ("8:16", 0),
        "sdc": ("8:32", 0),
        "sdd": ("8:48", 1),
        "sde": ("8:64", 0),
    }
    for name, (number, partitions) in disks.items():
        disk = sysfs / "block" / name
        (disk / "holders").mkdir(parents=True)
        (by_number / number).symlink_to(disk)
        major, _, minor = number.partition(":")
        for part in range(1, partitions + 1):
            place = disk / f"{name}{part}"
            place.mkdir()
            (place / "dev").write_text(f"{major}:{int(minor) + part}\n")
            (by_number / f"{major}:{int(minor) + part}").symlink_to(place)
    (sysfs / "block" / "sdc" / "holders" / "dm-0").mkdir()
    return proc, sysfs


@pytest.mark.parametrize(
    ("number", "use"),
    [
        ("8:0", "mounted on /srv"),
        ("8:1", "mounted on /srv"),
        ("8:2", ""),
        ("8:16", ""),
        ("8:32", "part of dm-0"),
        ("8:48", "swap on /dev/sdd1"),
        ("8:64", "mounted on /data"),
    ],
)
def test_what_a_device_is_used_for(machine, number, use):
    assert use_of(number, *machine) == use
