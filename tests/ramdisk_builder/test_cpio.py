import gzip
import io
import stat

from rhubarbe.ramdisk_builder import cpio
from rhubarbe.ramdisk_builder.tree import Tree


def written(tree):
    output = io.BytesIO()
    cpio.write(tree, output)
    return output.getvalue()


def members(archive):
    """Read an archive by the kernel's description: name, numbers of the header, content."""
    place = 0
    while True:
        assert archive[place : place + 6] == b"070701"
        fields = [int(archive[place + 6 + 8 * n : place + 14 + 8 * n], 16) for n in range(13)]
        size, name_size = fields[6], fields[11]
        name = archive[place + 110 : place + 110 + name_size]
        assert name[-1:] == b"\0"
        start = (place + 110 + name_size + 3) // 4 * 4
        if name == b"TRAILER!!!\0":
            return
        yield name[:-1].decode(), fields, archive[start : start + size]
        place = (start + size + 3) // 4 * 4


def test_every_kind_of_file_is_there_and_is_roots():
    tree = Tree()
    tree.add_program("bin/sh", b"\x7fELF")
    tree.add_link("bin/ash", "sh")
    tree.add_device("dev/console", 5, 1)
    read = {name: (fields, content) for name, fields, content in members(written(tree))}
    assert list(read) == [".", "bin", "bin/ash", "bin/sh", "dev", "dev/console"]
    assert read["."][0][1] == stat.S_IFDIR | 0o755
    assert read["bin/sh"][0][1] == stat.S_IFREG | 0o755
    assert read["bin/sh"][1] == b"\x7fELF"
    assert (read["bin/ash"][0][1] >> 12, read["bin/ash"][1]) == (0o12, b"sh")
    assert read["dev/console"][0][9:11] == [5, 1]
    for fields, _ in read.values():
        assert fields[2:4] == [0, 0]  # owner
        assert fields[5] == 0  # time


def test_each_file_has_a_number_of_its_own():
    """The kernel takes files of one number for links to each other."""
    tree = Tree()
    for name in "abc":
        tree.add_file(name, name)
    numbers = [fields[0] for _, fields, _ in members(written(tree))]
    assert len(set(numbers)) == len(numbers) == 4


def test_the_order_of_adding_makes_no_difference():
    first, second = Tree(), Tree()
    for name in ("a/b", "c", "a/d"):
        first.add_file(name, name)
    for name in ("c", "a/d", "a/b"):
        second.add_file(name, name)
    assert written(first) == written(second)


def test_what_is_packed_has_no_time_in_it(monkeypatch):
    tree = Tree()
    tree.add_file("a", b"b" * 1000)
    packed = []
    for now in (1.0, 2e9):
        monkeypatch.setattr("time.time", lambda now=now: now)
        output = io.BytesIO()
        cpio.write_packed(tree, output)
        packed.append(output.getvalue())
    assert packed[0] == packed[1]
    assert gzip.decompress(packed[0]) == written(tree)
