"""Files in which a site says what it has: JSON, or YAML where the name ends in `.yaml` or `.yml`.

They are read only if nobody but root and we could have written them, since they say what to switch.
"""

import json
from pathlib import Path
from typing import Any

from rhubarbe.concurrency.time_limit import within
from rhubarbe.errors import InventoryError, why
from rhubarbe.shared import own
from rhubarbe.shared.directory import StrPath
from rhubarbe.shared.documents import parse
from rhubarbe.shared.trust import Distrust

LARGEST = 16 << 20
READ_WITHIN_S = 10.0
YAML = (".yaml", ".yml")


def read_site_file(path: StrPath, otherwise: str) -> Any:
    """Return what a file tells; raises InventoryError, which goes on `otherwise` if there is none.

    Windows' mark of UTF-8 before the text is passed over.
    """
    is_yaml = Path(path).suffix.lower() in YAML
    try:
        text = within(READ_WITHIN_S, own.read_trusted, path, LARGEST).decode("utf-8-sig")
        return _yaml(text) if is_yaml else parse(text)
    except json.JSONDecodeError as error:
        fault = f"{path}: line {error.lineno}, column {error.colno}: not JSON: {error.msg}"
    except FileNotFoundError:
        fault = f"{path}: {otherwise}"
    except Distrust as error:
        fault = f"refused, for it says what to switch and to write: {error}"
    except (OSError, UnicodeDecodeError) as error:
        fault = f"{path}: the inventory cannot be read: {why(error)}"
    except ValueError as error:  # no YAML, or deeper than any inventory, or a number without end
        fault = f"{path}: {error}" if is_yaml else f"{path}: no inventory: {error}"
    raise InventoryError(fault)


def _yaml(text: str) -> Any:
    from rhubarbe.shared.yaml_documents import parse_yaml  # most sites have none

    return parse_yaml(text)


def kind_of(value: object) -> str:
    """Say what JSON calls a value, which may hold a password."""
    kinds = {dict: "an object", list: "a list", str: "a string", bool: "true or false"}
    return kinds.get(type(value), "null" if value is None else "a number")
