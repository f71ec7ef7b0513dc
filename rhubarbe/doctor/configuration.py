"""Whether the configuration could be read, and from which files."""

import os

from rhubarbe.config import configuration_files
from rhubarbe.doctor.findings import told, well
from rhubarbe.events import Finding
from rhubarbe.shared.own import is_there

ADVICE = "rhubarbe-config --template prints a file with every setting, explained"


def look(fault: str) -> list[Finding]:
    """Tell the fault that reading it has ended with, if it has."""
    if fault:
        return [told(fault, ADVICE)]
    files = [str(path) for path, _ in configuration_files(os.environ) if is_there(path)]
    return [well(f"read from {', '.join(files)}" if files else "there is none: all as built in")]
