"""One source, saved and restored onto many targets; the system's own tools judge each."""

import hashlib
from dataclasses import dataclass

from proving.kinds import Raw
from proving.lives import LIVES, Former
from proving.places import MIB, junk
from proving.tables import TABLES, make_disk, tell_backup, tell_signatures, tell_table
from proving.targets import REFUSED, RIGHT, TARGETS, opened, program, unzip


class Source:
    """A disk with a partition of a kind, made, found sound, and saved."""

    def __init__(self, directory, kind, table, sector):
        self.directory, self._kind = directory, kind
        self.number = TABLES[table][1]
        self._former = Former(directory)
        self.disk = self._make(directory / "source.img", table, sector)
        for number in self.disk.partitions:
            with self.disk.place(number).device(writable=True) as device:
                self._kind_of(number).make(device, directory)
        self.said = self.tell(self.disk)
        self.backup = self.said.get("sgdisk -p")  # what the backup table is to tell alone
        unsound = {about: text for about, text in self.said.items() if text.startswith("status")}
        assert not unsound, unsound

    def _make(self, path, table, sector):
        return make_disk(path, table, self._kind, sector)

    def _kind_of(self, number):
        return self._kind if number == self.number else Raw(0)

    def tell(self, disk):
        """Return all that the tools say of a disk: about what -> text."""
        said = tell_table(disk)
        if disk.label != "none":
            said |= tell_signatures(disk.whole)
        for number in disk.partitions:
            place = disk.place(number)
            with place.device() as device:
                inside = self._kind_of(number).tell(device, self.directory)
            inside |= tell_signatures(place)
            said |= {f"p{number} {about}": text for about, text in inside.items()}
        return said

    def save(self, *options, by_device=False):
        """Save the disk; one without a table may be of what nobody understands."""
        image = self.directory / "image.ndz"
        if self.disk.label == "none" and type(self._kind) is Raw:
            options = ("-r", *options)
        if by_device:
            with self.disk.whole.device() as device:
                done = program("imagezip", *options, device, image)
        else:
            done = program("imagezip", *options, self.disk.path, image)
        assert done.returncode == 0, done.stderr
        return image

    def target(self, name, turn):
        """Make a target full of junk and of former lives: of the disk, and of each partition.

        Also of a partition that began where the source's disk ends. Returns it, and the disk's.
        """
        path, size = self.directory / "target.img", TARGETS[name].size(self.disk)
        junk(path, size)
        lives = [list(LIVES)[(turn + more) % 3] for more in range(3)]
        for place, (start, length) in enumerate(self.disk.partitions.values()):
            if start + length <= size:
                self._former.on(path, start, length, lives[(1 + place) % 3])
        if size > self.disk.size + 8 * MIB:
            self._former.on(path, self.disk.size, size - self.disk.size, lives[1])
        self._former.on(path, 0, size, lives[0])
        return path, lives[0]

    def judge(self, path):
        """Return the lines that tell where a restored disk differs from its source."""
        disk, wanted = self.disk.on(path), dict(self.said)
        try:
            said = self.tell(disk)
            if self.backup:
                wanted["backup"], said["backup"] = self.backup, tell_backup(disk)
        except AssertionError as error:  # a tool that fails altogether: it cannot be mounted
            return [f"tool failed: {error!s:.600}"]
        return differences(wanted, said)


def differences(wanted, said):
    """Return a line for each of what was asked about that was answered otherwise."""
    return [
        _difference(about, text, said.get(about, ""))
        for about, text in wanted.items()
        if text != said.get(about)
    ]


def _difference(about, wanted, found):
    missing = [line for line in wanted.splitlines() if line not in found.splitlines()]
    more = [line for line in found.splitlines() if line not in wanted.splitlines()]
    words = [f"-{line:.90}" for line in missing[:3]] + [f"+{line:.90}" for line in more[:3]]
    return f"{about}: " + "; ".join(words)


@dataclass
class Verdict:
    """What became of one restore, and what is wrong with that."""

    target: str
    life: str
    became: str
    faults: list[str]

    def __str__(self):
        return f"{self.target}, once {self.life}: {self.became}: {self.faults}"


def restore(source, image, name, turn, *, by=unzip, expected=None):
    """Restore the image onto a target, and judge it."""
    path, life = source.target(name, turn)
    target, disk = TARGETS[name], source.disk
    expected = expected or target.expected(disk)
    before = digest(path) if REFUSED in expected else ""
    behind = digest(path, disk.size) if disk.label == "none" else ""
    with opened(path, target, disk, by_device=bool(turn % 2)) as place:
        done = by(image, place)
    if done.returncode == 0:
        became, faults = RIGHT, source.judge(path)
        if disk.label == "none" and digest(path, disk.size) != behind:
            faults.append("what is behind a bare filesystem was written to")
    else:
        became, faults = REFUSED, _faults_of_refusal(done.stderr)
        if REFUSED in expected and digest(path) != before:
            faults.append("it was written to")
    path.unlink()
    if became not in expected:
        faults.append(f"{became}, not {' or '.join(expected)}: {done.stderr.strip()[-200:]}")
    return Verdict(name, life, "wrong" if faults else became, faults)


def _faults_of_refusal(text):
    said = text.strip().splitlines()
    is_one_line = len(said) == 1 and "Traceback" not in text
    return [] if is_one_line else [f"not one line: {said[:5]}"]


def digest(path, start=0):
    """Return a digest of a file from there on."""
    with path.open("rb") as file:
        file.seek(start)
        return hashlib.file_digest(file, "blake2b").hexdigest()
