"""Random disks for hypothesis: tables that sfdisk makes, and noise in their partitions."""

import random

from hypothesis import assume
from hypothesis import strategies as st

from proving.places import MIB, try_run
from proving.tables import Disk

GAPS = [1, 2, 8, 63, 100, 1000, 2048, 9000]
GPT_ENTRIES = [128, 4, 256]


@st.composite
def layouts(draw, sector=512):
    """Draw a table: its label, its script, its partitions in sectors, and the disk's size."""
    is_gpt = draw(st.booleans())
    scale = sector // 512
    entries = draw(st.sampled_from(GPT_ENTRIES)) if is_gpt else 0
    table = max(entries * 128 // sector, 1) + 1 if is_gpt else 0
    reach = 1 + table + draw(st.sampled_from(GAPS)) // scale
    count = draw(st.integers(1, 4))
    numbers = draw(st.permutations(range(1, 5)))[:count]
    extended = draw(st.sampled_from([0, *numbers])) if not is_gpt else 0
    lines, partitions = [], {}
    logical = 5
    for number in numbers:
        size = draw(st.integers(1, 4000)) + 8
        if number == extended:
            inner = reach
            for _ in range(draw(st.integers(1, 3))):
                start = inner + draw(st.sampled_from(GAPS))
                lines.append((logical, start, size, "da"))
                partitions[logical] = (start, size)
                inner, logical = start + size, logical + 1
            lines.append((number, reach, inner - reach, "5"))
            reach = inner
        else:
            kind = "L" if is_gpt else draw(st.sampled_from(["83", "da", "7", "c", "82"]))
            lines.append((number, reach, size, kind))
            partitions[number] = (reach, size)
            reach += size
        reach += draw(st.sampled_from([0, *GAPS]))
    size = reach + table + draw(st.integers(0, 6000))
    head = (
        f"label: gpt\nfirst-lba: {1 + table}\ntable-length: {entries}\n"
        if is_gpt
        else "label: dos\n"
    )
    rows = [f"{n} : start={a}, size={b}, type={t}\n" for n, a, b, t in sorted(lines)]
    return head + "".join(rows), "gpt" if is_gpt else "dos", partitions, size, table


def make(path, layout, sector, seed):
    """Make the disk, or give the example up where sfdisk does not want the table."""
    script, label, partitions, size, _ = layout
    chance = random.Random(seed)
    with path.open("wb") as file:
        file.truncate(size * sector)
        for start, count in partitions.values():
            zeroes = chance.choice([0, 0, 1, 5, count // 2])
            file.seek((start + min(zeroes, count)) * sector)
            file.write(chance.randbytes(max(count - zeroes - chance.choice([0, 3]), 0) * sector))
    numbered = {n: (start * sector, count * sector) for n, (start, count) in partitions.items()}
    disk = Disk(path, size * sector, sector, label, numbered)
    with disk.whole.device(writable=True) as device:
        command = ["sfdisk", "-q", "--no-reread", "--wipe", "never", device]
        assume(try_run(*command, input=script).returncode == 0)
    return disk


def sizes(disk, table):
    """Draw the size of a target, in bytes; often one where something just fits, or just not."""
    fits = disk.end + table * disk.sector
    corners = [disk.size, fits, fits - disk.sector, disk.end - disk.sector, disk.size + 5 * MIB]
    return st.one_of(
        st.sampled_from(corners),
        st.integers(disk.end // disk.sector // 2, disk.size // disk.sector * 2).map(
            lambda sectors: sectors * disk.sector
        ),
    ).filter(lambda size: size > 0)
