import io
import stat
import tarfile

import pytest

from rhubarbe.ramdisk_builder.debian import read_archive
from rhubarbe.ramdisk_builder.errors import PackageError


def put(tar, name, kind, content=b"", **fields):
    member = tarfile.TarInfo(name)
    member.type, member.size = kind, len(content)
    for key, value in fields.items():
        setattr(member, key, value)
    tar.addfile(member, io.BytesIO(content))


@pytest.fixture
def archive(tmp_path):
    path = tmp_path / "debian.tar"
    with tarfile.open(path, "w") as tar:
        put(tar, "./", tarfile.DIRTYPE, mode=0o755)
        put(tar, "./usr/", tarfile.DIRTYPE, mode=0o755)
        put(tar, "./usr/bin/", tarfile.DIRTYPE, mode=0o755)
        put(tar, "./bin", tarfile.SYMTYPE, linkname="usr/bin")
        put(tar, "./usr/bin/su", tarfile.REGTYPE, b"su", mode=0o4755)
        put(tar, "./usr/bin/other name", tarfile.LNKTYPE, linkname="./usr/bin/su")
        put(tar, "./etc/shadow", tarfile.REGTYPE, b"root:*", mode=0o640, gid=42)
        put(tar, "./dev/null", tarfile.CHRTYPE, devmajor=1, devminor=3)
    return path


def test_an_archive_keeps_modes_owners_and_links(archive, tmp_path):
    tree = read_archive(archive, tmp_path)
    assert tree["usr/bin/su"].mode == stat.S_IFREG | 0o4755
    assert tree["usr/bin/su"].read() == b"su"
    assert tree["usr/bin/other name"].read() == b"su"
    assert tree["bin"].read() == b"usr/bin"
    assert tree["etc/shadow"].owner == (0, 42)
    assert "dev/null" not in tree


def test_what_is_no_archive_is_told(tmp_path):
    (tmp_path / "debian.tar").write_text("no archive")
    with pytest.raises(PackageError, match="gave no archive"):
        read_archive(tmp_path / "debian.tar", tmp_path)
