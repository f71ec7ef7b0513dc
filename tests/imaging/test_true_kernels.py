"""What a real kernel makes of a restored disk: md, LVM, LUKS, f2fs, FAT, UFS, in a QEMU guest."""

import hashlib

import pytest
from guest import Drive, run_in_guest
from proving.places import MIB, sparse
from proving.targets import program

pytestmark = [pytest.mark.full, pytest.mark.alone, pytest.mark.timeout(1500)]
WITHIN = 400  # seconds for a guest, on a machine that is busy

SOURCE = """\
cat > table <<END
label: gpt
size=70M, name=phone
size=70M, name=stick
size=48M, name=volumes
size=48M, name=locked
size=40M, name=mirror
END
sfdisk -q {disk} < table
fill() {{
    mount $1 /mnt
    for n in 1 2 3 4 5; do head -c $((n * 300000)) /dev/urandom > /mnt/f$n; done
    rm /mnt/f2
    umount /mnt
}}
mkfs.f2fs -qf {disk}{p}1 && fill {disk}{p}1
mkfs.vfat -F 32 {disk}{p}2 >/dev/null && fill {disk}{p}2
pvcreate -q {disk}{p}3 >/dev/null
vgcreate -q ours {disk}{p}3 >/dev/null
lvcreate -q -y -n root -L 32M ours >/dev/null
mkfs.ext4 -q /dev/ours/root && fill /dev/ours/root
vgchange -q -an ours >/dev/null
echo -n secret > key
cryptsetup luksFormat -q --type luks2 --pbkdf pbkdf2 --pbkdf-force-iterations 1000 {disk}{p}4 key
cryptsetup open --key-file key {disk}{p}4 opened
mkfs.ext4 -q /dev/mapper/opened && fill /dev/mapper/opened
cryptsetup close opened
mirror="mdadm --create /dev/md9 --run --level=1 --raid-devices=2"
$mirror --metadata=1.0 {disk}{p}5 missing 2>/dev/null
mkfs.ext4 -q /dev/md9 && fill /dev/md9
mdadm --stop /dev/md9 2>/dev/null
"""

FORMER = """\
mirror="mdadm --create /dev/md7 --run --assume-clean --level=1 --raid-devices=2"
printf 'label: gpt\\nsize=70M\\nsize=70M\\nsize=48M\\nsize=48M\\nsize=40M\\n' | sfdisk -q {disk}
for try in 1:1.0 2:0.90 3:1.1 4:1.2; do
    part={disk}{p}${{try%:*}}
    $mirror --metadata=${{try#*:}} $part missing 2>/dev/null
    pvcreate -q /dev/md7 >/dev/null
    vgcreate -q theirs${{try%:*}} /dev/md7 >/dev/null
    vgchange -q -an theirs${{try%:*}} >/dev/null
    mdadm --stop /dev/md7 2>/dev/null
done
mkfs.btrfs -qf -m single --mixed {disk}{p}5 >/dev/null
mdadm --examine --brief {disk}{p}[1-4] | grep -c ARRAY
$mirror --metadata=1.0 {disk} missing 2>/dev/null
mdadm --stop /dev/md7 2>/dev/null
mdadm --examine --brief {disk} | grep -c ARRAY
"""

LOOK = """\
sgdisk -v {disk} | grep -o "No problems found"
sfdisk -d {disk} | grep start=
for each in {disk} {disk}{p}[1-5]; do
    blkid -p -o export $each | grep -v "^DEVNAME\\|^PART_ENTRY_DISK"
    wipefs -n -i -O TYPE,UUID,LABEL $each
    mdadm --examine --brief $each || true
done
sums() {{ mount -o ro $1 /mnt; (cd /mnt && sha256sum f*); umount /mnt; }}
sums {disk}{p}1
sums {disk}{p}2
vgs --noheadings -o vg_name
vgchange -q -ay ours >/dev/null
sums /dev/ours/root
vgchange -q -an ours >/dev/null
echo -n secret > key
cryptsetup open --key-file key {disk}{p}4 opened
sums /dev/mapper/opened
cryptsetup close opened
mdadm --assemble --scan --run 2>&1 | grep -c started || true
mount -o ro /dev/md/* /mnt && sha256sum /mnt/f*
umount /mnt
mdadm --stop --scan 2>/dev/null
fsck.f2fs --dry-run {disk}{p}1 | grep -c "\\[Fail\\]" || true
fsck.vfat -n {disk}{p}2 >/dev/null
"""


@pytest.mark.parametrize(("bus", "sector"), [("virtio", 512), ("nvme", 4096)])
@pytest.mark.parametrize("more", [0, 70 * MIB, -9 * MIB])
def test_a_kernel_finds_what_it_found_on_the_source(bus, sector, more, tmp_path):
    name = {"disk": "/dev/vda", "p": ""} if bus == "virtio" else {"disk": "/dev/nvme0n1", "p": "p"}
    source = sparse(tmp_path / "source.img", 290 * MIB)
    target = sparse(tmp_path / "target.img", 290 * MIB + more)
    run_in_guest(SOURCE.format(**name), [Drive(source, bus, sector=sector)], within=WITHIN)
    former = run_in_guest(FORMER.format(**name), [Drive(target, bus, sector=sector)], within=WITHIN)
    assert former.split()[-2:] == ["4", "1"]  # arrays, on partitions and on the disk
    image = tmp_path / "image.ndz"
    assert program("imagezip", source, image).returncode == 0
    done = program("imageunzip", "--as-device", "--verify", image, target)
    assert done.returncode == 0, done.stderr
    told = [
        run_in_guest(LOOK.format(**name), [Drive(disk, bus, sector=sector)], within=WITHIN)
        for disk in (source, target)
    ]
    assert told[1].splitlines() == told[0].splitlines()
    assert "theirs" not in told[0]
    assert told[0].count("f1\n") == 5  # filesystems


UFS_SUMS = """\
for disk in /dev/vda /dev/vdb; do
    mount -t ufs -o ro,ufstype=44bsd $disk /mnt
    (cd /mnt && find . -type f | sort | xargs sha256sum)
    umount /mnt
done
"""


def test_a_kernel_reads_the_files_of_ufs(tools, programs, tmp_path):
    tools.need("makefs")
    files = tools.files(tmp_path / "files", count=60, largest=900_000)
    restored = []
    for order in ("le", "be"):
        disk, image = tmp_path / f"{order}.img", tmp_path / f"{order}.ndz"
        options = ["-t", "ffs", "-o", "version=1", "-B", order, "-s", "96m"]
        tools.run("makefs", *options, disk, tmp_path / "files")
        programs.zip("-l", disk, image)
        restored.append(programs.restore_on_junk(image, 96 * MIB).rename(tmp_path / order))
        assert restored[-1].read_bytes().count(b"\xaa" * 4096) > 40 << 8
    told = run_in_guest(UFS_SUMS, [Drive(disk, "virtio") for disk in restored], within=WITHIN)
    expected = [f"{hashlib.sha256(files[n]).hexdigest()}  ./{n}" for n in sorted(files)]
    assert told.splitlines() == expected * 2
