"""Compare what one disk holds in use with another, without any code of the suite's.

`python compare SOURCE DISK`: all before the partition, and the blocks that dumpe2fs says are used.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "programs"))
from emulated import differing_blocks

source, disk = map(Path, sys.argv[1:])
if differing := differing_blocks(disk, source):
    sys.exit(f"{disk}: {len(differing)} blocks differ, the first: {differing[0]}")
sys.stdout.write(f"{disk} holds all that {source} holds in use\n")
