"""Print what became of the changes that mutmut made to the core: a line a module.

`python mutants.py [PATTERN...]`: of such names; with `--survivors`, those that no test noticed.
Those that `mutants.equivalent` lists change nothing that a user or another module sees: they are
counted apart, and no test is wanted for them.
"""

import json
import sys
from collections import Counter
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

from mutmut.mutation.diff_apply import get_diff_for_mutant
from mutmut.stats import status_by_exit_code

HERE = Path(__file__).resolve().parent
TRIED = HERE.parent / "mutants"
CAUGHT = {"killed", "timeout", "suspicious", "segfault"}
FATES = ("caught", "survived", "equivalent", "untried")


def read_equivalents() -> set[str]:
    """Return the lines of the list: `FUNCTION: CHANGE`."""
    lines = (HERE / "mutants.equivalent").read_text().splitlines()
    return {line for line in lines if line and not line.startswith("#")}


def describe(mutant: str, path: Path) -> str:
    """Return `FUNCTION: CHANGE`: the lines that a mutant has and the code has not, or lacks."""
    module, _, name = mutant.partition("__mutmut_")[0].rpartition(".")
    name = name.removeprefix("xǁ").removeprefix("x_").replace("ǁ", ".")
    diff = get_diff_for_mutant(mutant, path=path).splitlines()[2:]
    added = [line[1:].strip() for line in diff if line.startswith("+")]
    removed = [line[1:].strip() for line in diff if line.startswith("-")]
    return f"{module}.{name}: {' '.join(added or ['without', *removed])}"


def read_fates(
    meta: Path, patterns: list[str], equivalents: set[str]
) -> Iterator[tuple[str, str, str]]:
    """Yield the name of each mutant of a module, what became of it, and what a survivor changes."""
    path = meta.relative_to(TRIED).with_suffix("")
    for mutant, code in json.loads(meta.read_text())["exit_code_by_key"].items():
        if patterns and not any(fnmatch(mutant, pattern) for pattern in patterns):
            continue
        status = status_by_exit_code[code]
        if status in {"survived", "no tests"}:
            change = describe(mutant, path)
            yield mutant, "equivalent" if change in equivalents else "survived", change
        else:
            yield mutant, "caught" if status in CAUGHT else "untried", ""


def row(name: str, count: Counter[str]) -> str:
    """Return a line of the table, which ends with how many of those that change something."""
    changing = count["caught"] + count["survived"]
    share = f"{100 * count['caught'] / changing:.1f} %" if changing else "-"
    cells = "".join(f"{count[fate]:12}" for fate in FATES)
    return f"{name:32}{count.total():8}{cells}{share:>10}"


def main() -> None:
    """Print the survivors, or the table."""
    is_list = "--survivors" in sys.argv[1:]
    patterns = [argument for argument in sys.argv[1:] if argument != "--survivors"]
    equivalents, total = read_equivalents(), Counter[str]()
    found: set[str] = set()
    lines = [f"{'':32}{'mutants':>8}{''.join(f'{fate:>12}' for fate in FATES)}{'caught':>10}"]
    for meta in sorted(TRIED.rglob("*.py.meta")):
        if not (HERE.parent / meta.relative_to(TRIED).with_suffix("")).exists():
            continue  # the module has moved
        fates = list(read_fates(meta, patterns, equivalents))
        found.update(change for _, _, change in fates)
        if is_list:
            lines += [f"{name}\n    {change}" for name, fate, change in fates if fate == "survived"]
        elif fates:
            module = ".".join(meta.relative_to(TRIED).with_suffix("").with_suffix("").parts)
            count = Counter(fate for _, fate, _ in fates)
            lines.append(row(module, count))
            total += count
    lines = lines[1:] if is_list else [*lines, row("all", total)]
    if not (patterns or total["untried"] or is_list):
        lines += [f"listed, and gone: {line}" for line in sorted(equivalents - found)]
    sys.stdout.writelines(f"{line}\n" for line in lines)


main()
