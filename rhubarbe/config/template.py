"""The text of `rhubarbe.conf.sample`: every setting with its default and the words that explain it.

`python -m rhubarbe.config.template` prints it.
"""

import inspect
import sys
import textwrap
from collections.abc import Iterator

from rhubarbe.config.section import text_of
from rhubarbe.config.settings import SECTIONS

WIDTH = 88

HEAD = """\
# Configuration of rhubarbe: every setting, with its default.
#
# Read in this order, where later files win: /etc/rhubarbe/rhubarbe.conf,
# /etc/rhubarbe/rhubarbe.conf.local, ~/.rhubarbe.conf, ./rhubarbe.conf and ./rhubarbe.conf.local, or
# instead of these two the file that $RHUBARBE_CONF names. Whatever the file, `key.HOST = value`
# beats `key = value` on the gateway whose short host name is HOST. A setting that can differ from
# node to node is marked "per node": `key.fit03 = value` or `key.1-12 = value` beats both for
# these nodes; of several, the one for the fewest nodes counts, then the later. A file needs only
# what differs from the defaults; `rhubarbe-config` prints what is in effect, and from which file.
"""


def template() -> str:
    """Return a configuration that changes nothing: each setting commented out, at its default."""
    return "\n".join([HEAD, *(line for section in SECTIONS for line in _section(section))])


def _section(name: str) -> Iterator[str]:
    words = inspect.getdoc(SECTIONS[name]) or ""
    yield from _comment(words.removeprefix(f"[{name}]: "))
    yield f"[{name}]"
    yield ""
    for key, setting in SECTIONS[name].declared().items():
        yield from _comment(setting.help + ("; per node" if setting.per_node else ""))
        yield f"# {key} = {text_of(setting.default)}".rstrip()
        yield ""


def _comment(words: str) -> Iterator[str]:
    yield from textwrap.wrap(words, WIDTH, initial_indent="## ", subsequent_indent="## ")


if __name__ == "__main__":
    sys.stdout.write(template())
