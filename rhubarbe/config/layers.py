"""Where the configuration comes from: INI files in layers, read once into frozen settings.

Later files win, and in all of them together `key.HOST` beats `key` on the gateway whose short host
name is HOST; `key.NODES` beats both for these nodes, where the key can differ from node to node:
NODES is a control name or a selection, such as `fit03` or `1-12`. The layers, from the weakest: the
built-in defaults, `/etc/rhubarbe/rhubarbe.conf`,
`/etc/rhubarbe/rhubarbe.conf.local`, `~/.rhubarbe.conf`, `./rhubarbe.conf` and
`./rhubarbe.conf.local`, or instead of these two the file that `$RHUBARBE_CONF` names.
"""

import configparser
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

from rhubarbe.concurrency.time_limit import within
from rhubarbe.config import former
from rhubarbe.config.implied import ASKED, SERVICE, add_implied
from rhubarbe.config.settings import SECTIONS, NodeValue, Settings
from rhubarbe.config.values import SECRET, URL
from rhubarbe.errors import ConfigError, SelectionError, why
from rhubarbe.selector import select
from rhubarbe.shared.own import is_there, read_file
from rhubarbe.shared.trust import Distrust, is_ours
from rhubarbe.writers import may_others_write

LARGEST = 4 << 20
READ_WITHIN_S = 10.0
# Every key for nodes may be for many of them; all together take memory.
MOST_NODES = 1_000_000
# What holds for all users of a gateway.
SITE_FILES = (Path("/etc/rhubarbe/rhubarbe.conf"), Path("/etc/rhubarbe/rhubarbe.conf.local"))
# In these sections, what a file below /etc sets, a user's file may not set.
DECIDED_BY_THE_SITE = frozenset({"leases", "r2labapi"})
ROOT_S = "counts only in a file below /etc/rhubarbe that is root's and that nobody else can write"


def configuration_files(environ: Mapping[str, str]) -> Iterator[tuple[Path, bool]]:
    """Yield the layers, weakest first, each with whether it is a user's (so must be trusted)."""
    for path in SITE_FILES:
        yield path, False
    if home := environ.get("HOME"):
        yield Path(home, ".rhubarbe.conf"), True
    if named := environ.get("RHUBARBE_CONF"):
        yield _here() / named, True
        return
    yield _here() / "rhubarbe.conf", True
    yield _here() / "rhubarbe.conf.local", True


def load_site_settings(root: Path) -> Settings:
    """Read only what is below /etc, of the machine whose files are below `root`.

    Raises ConfigError.
    """
    paths = [root / path.relative_to("/") for path in SITE_FILES]
    layers = filter(None, (_Layer.read(path, personal=False) for path in paths))
    return _merge(list(layers), os.uname().nodename.partition(".")[0].lower())


def _here() -> Path:
    try:
        return Path.cwd()
    except OSError as error:
        raise ConfigError(f"the current directory: {why(error)}; cd to another one") from error


def load_settings(environ: Mapping[str, str]) -> Settings:
    """Read all layers; raises ConfigError naming file, section, key and what was expected."""
    if (named := environ.get("RHUBARBE_CONF")) and not is_there(named):
        raise ConfigError(f"{named}: no such file; $RHUBARBE_CONF names it")
    # Who works in /etc/rhubarbe has the site's file here: it is that once, and not a user's.
    files: dict[Path, tuple[Path, bool]] = {}
    for path, personal in configuration_files(environ):
        files.setdefault(Path(path).absolute(), (path, personal))
    read = [_Layer.read(path, personal=personal) for path, personal in files.values()]
    layers = [layer for layer in read if layer is not None]
    _refuse_overrides(layers)
    # The parser reads keys in lower case.
    return _merge(layers, os.uname().nodename.partition(".")[0].lower())


def _no_configuration(error: configparser.Error) -> str:
    """Return what is wrong in a file that is no configuration, where, and what it should be."""
    if isinstance(error, configparser.DuplicateSectionError):
        return (
            f"line {error.lineno}: section [{error.section}] for the second time: its keys belong"
            " to the first"
        )
    if isinstance(error, configparser.DuplicateOptionError):
        return (
            f"line {error.lineno}: section [{error.section}], key {error.option}: for the second"
            " time: one of them has to go"
        )
    # What the line says is not told: the file may be a link to another, with secrets in it.
    if isinstance(error, configparser.MissingSectionHeaderError):
        return f"line {error.lineno} is before any [section]"
    lines = [number for number, _ in getattr(error, "errors", ())]
    number = lines[0] if lines else getattr(error, "lineno", 1)
    return f"line {number} is neither `key = value` nor a [section]"


@dataclass(frozen=True, slots=True)
class _Layer:
    """One file: its values as text, by (section, key as written)."""

    path: Path
    values: dict[tuple[str, str], str]
    personal: bool
    notice: str

    @classmethod
    def read(cls, path: Path, *, personal: bool) -> Self | None:
        """Read a file; None where there is none."""
        parser = configparser.ConfigParser(interpolation=None, default_section="\0")
        try:
            trusted = _Trusted(path, personal=personal)
            content = within(READ_WITHIN_S, read_file, path, LARGEST, trusted)
            if content is None:
                return None
            # Comments, and names of files, may be no UTF-8.
            text = content.decode("utf-8-sig", "surrogateescape")
            parser.read_file(StringIO(text, newline=None), source=str(path))
        except Distrust as error:
            raise ConfigError(f"refused, for it names programs to run: {error}") from error
        except OSError as error:
            raise ConfigError(f"{path}: cannot be read: {why(error)}") from error
        except configparser.Error as error:
            raise ConfigError(f"{path}: {_no_configuration(error)}") from error
        places = [(name, key) for name in parser for key in parser[name]]
        places.sort(key=lambda place: not former.is_renamed(*place))  # ours beats its former name
        values = {place: parser[place[0]][place[1]] for place in places}
        is_root_s = trusted.is_root_s and not personal
        left_out = {
            place: words for place in places if (words := _instead(*place, is_root_s=is_root_s))
        }
        layer = cls(
            path,
            {place: text for place, text in values.items() if place not in left_out},
            personal,
            former.notice(path, ((*place, left_out[place]) for place in left_out))
            if left_out
            else "",
        )
        for (section, key), text in layer.values.items():
            _value(path, section, key, text)
        return layer


class _Trusted:
    """What an open file must be to be read, and whether only root can have written it."""

    def __init__(self, path: Path, *, personal: bool) -> None:
        self._path = path
        self._personal = personal
        self.is_root_s = False

    def __call__(self, file: int) -> None:
        _require_trust(self._path, file, personal=self._personal)
        status = os.fstat(file)
        self.is_root_s = status.st_uid == 0 and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _require_trust(path: Path, file: int, *, personal: bool) -> None:
    """Refuse an open file that others could write: it names programs to be run for this user.

    A file of the site's may be writable by its group, which its owner has chosen.
    """
    status = os.fstat(file)
    if not is_ours(status):
        raise ConfigError(
            f"{path}: refused, because it belongs to uid {status.st_uid}, neither you nor root, and"
            " a configuration names programs to run; copy it, or remove it"
        )
    if may_others_write(file) if personal else status.st_mode & stat.S_IWOTH:
        raise ConfigError(
            f"{path}: refused, because others can write it, and a configuration names programs to"
            f" run; do: chmod go-w {path}"
        )


def _instead(section: str, key: str, *, is_root_s: bool) -> str:
    """Say why a key of a file, which may be root's, has no effect there; empty where it has."""
    name = key.partition(".")[0]
    declared = SECTIONS[section].declared() if section in SECTIONS else {}
    if name in declared and declared[name].by_root and not is_root_s:
        return ROOT_S
    return former.instead(section, key, is_ours=section in SECTIONS)


def _refuse_overrides(layers: list[_Layer]) -> None:
    """Refuse a user's file that sets what the site has decided for all users."""
    decided: dict[tuple[str, str], Path] = {}
    for layer in layers:
        for section, key in layer.values:
            place = former.place(section, key)[:2]
            if place[0] in DECIDED_BY_THE_SITE and not layer.personal:
                decided[place] = layer.path
                if place == SERVICE and layer.values[section, key]:
                    decided.setdefault(ASKED, layer.path)
            elif place in decided:
                raise ConfigError(
                    f"{layer.path}: section [{section}], key {key}: {decided[place]} decides this"
                    " for all users; remove it here"
                )


def _value(path: Path, section: str, key: str, text: str) -> Any:
    """Check one value against its declaration and return it typed."""
    if section not in SECTIONS:
        raise ConfigError(f"{path}: unknown section [{section}]{_near(section, SECTIONS)}")
    ours, name, _ = former.place(section, key)
    declared = SECTIONS[ours].declared()
    if name not in declared:
        near = _near(name, declared)
        raise ConfigError(f"{path}: section [{section}]: unknown key {key!r}{near}")
    kind = declared[name].kind
    try:
        return kind.read(text)
    except (ValueError, KeyError) as error:
        bad = "bad value" if kind in (SECRET, URL) else f"bad value {text!r}"
        raise ConfigError(
            f"{path}: section [{section}], key {key}: {bad}, expected {kind.expected}"
        ) from error


def _near(word: str, known: Mapping[str, Any]) -> str:
    import difflib  # most files have no such fault

    near = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {near[0]}?" if near else f"; known ones are {', '.join(known)}"


def _merge(layers: list[_Layer], host: str) -> Settings:
    sections: dict[str, dict[str, Any]] = {name: {} for name in SECTIONS}
    origins: dict[tuple[str, str], str] = {}
    for suffix in ("", f".{host}"):
        for layer in layers:
            for written, text in layer.values.items():
                section, name, rest = former.place(*written)
                if rest == suffix[1:]:
                    sections[section][name] = _value(layer.path, *written, text)
                    by = f" ({written[1]})" if written[1] != name else ""
                    origins[section, name] = f"{layer.path}{by}"
    add_implied(sections, origins)
    merged = {name: SECTIONS[name](**values) for name, values in sections.items()}
    return Settings(
        **merged,
        of_nodes=tuple(_of_nodes(layers, host, merged["testbed"])),
        origins=MappingProxyType(origins),
        notices=tuple(layer.notice for layer in layers if layer.notice),
    )


def _of_nodes(layers: list[_Layer], host: str, testbed: Any) -> Iterator[NodeValue]:
    """Yield the values that are for nodes; raises ConfigError for a key that is for nobody.

    A word without a digit is the name of a gateway, this one or another; with one it is of nodes,
    unless it is this gateway's name.
    """
    names = (testbed.regularname.lower(), testbed.rebootname.lower())
    count = 0
    for layer in layers:
        for (section, key), text in layer.values.items():
            if "." not in key:
                continue
            ours, name, nodes = former.place(section, key)
            numbers = _numbers(nodes, names)
            count += len(numbers)
            if count > MOST_NODES:
                raise ConfigError(
                    f"{layer.path}: key.NODES for more than {MOST_NODES} nodes in all"
                )
            if fault := _fault(ours, name, nodes, numbers, is_here=nodes == host):
                raise ConfigError(f"{layer.path}: section [{section}], key {key}: {fault}")
            if nodes in names or not nodes:
                raise ConfigError(
                    f"{layer.path}: section [{section}], key {key}: names no node: its number lacks"
                )
            if nodes != host and SECTIONS[ours].declared()[name].per_node and _digits(nodes):
                value = _value(layer.path, section, key, text)
                yield NodeValue(ours, name, nodes, numbers, value, f"{layer.path} ({key})")


def _fault(section: str, name: str, nodes: str, numbers: frozenset[int], *, is_here: bool) -> str:
    """Say what is wrong with a key for some nodes; nothing where that is well."""
    if not numbers:
        return ""
    if SECTIONS[section].declared()[name].per_node:
        return f"{nodes} is this gateway, and it selects nodes, too" if is_here else ""
    return "" if is_here else f"{name} cannot differ from node to node{_able()}"


def _digits(text: str) -> bool:
    return any(map(str.isdigit, text))


def _numbers(nodes: str, names: tuple[str, str]) -> frozenset[int]:
    if not _digits(nodes):
        return frozenset()
    try:
        return frozenset(select(nodes.split(), names))
    except SelectionError:
        return frozenset()


def _able() -> str:
    """Say which settings can be said for nodes."""
    able = [
        key
        for section in SECTIONS.values()
        for key, setting in section.declared().items()
        if setting.per_node
    ]
    return f"; these can: {', '.join(dict.fromkeys(able))}"
