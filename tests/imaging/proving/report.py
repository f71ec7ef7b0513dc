"""The table of all restores, as text: a row for each kind of disk, a column for each target."""

PROPERTY = "true disk"


def rows_of(reports):
    """Return (row, cells) of all tests that noted some, in their order."""
    noted = (dict(report.user_properties).get(PROPERTY) for report in reports)
    return [(tuple(note["row"]), note["cells"]) for note in noted if note]


def table(rows):
    """Return the lines of the table; nothing without rows."""
    if not rows:
        return []
    columns = list(dict.fromkeys(column for _, cells in rows for column in cells))
    lines = [("kind", "table", "sector", *columns)]
    for row, cells in rows:
        lines.append((*map(str, row), *(cells.get(column, "-") for column in columns)))
    widths = [max(len(line[place]) for line in lines) for place in range(len(lines[0]))]
    return [
        "  ".join(word.ljust(width) for word, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]
