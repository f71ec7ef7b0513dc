"""List the images of the repository, and of the current directory; or remove some.

One line an image: date, size, name, aliases, and `not sealed` where damage could go unnoticed.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rhubarbe.cli.arguments import example, read_settings
from rhubarbe.config.settings import FrisbeeSettings
from rhubarbe.errors import ImageError
from rhubarbe.ndz.mark import image_id
from rhubarbe.repository import Image, OpenImage, Stamp, ancestors, list_images, provenance
from rhubarbe.shared.directory import are_same
from rhubarbe.text import date_and_size, sanitise

EPILOG = example(
    "rhubarbe-images -d fedora",
    "With --long, a line more tells which node an image was saved from, when, by whom and why,\n"
    "and what was on the node before; the image itself says so, in /etc/rhubarbe-image.",
)

# How a save calls an image that nobody has named.
UNNAMED = "saving__"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what images takes."""
    order = parser.add_mutually_exclusive_group()
    order.add_argument("-s", "--by-size", action="store_true", help="sort by size, not by name")
    order.add_argument("-d", "--by-date", action="store_true", help="sort by date, not by name")
    parser.add_argument("-r", "--reverse", action="store_true", help="the other way round")
    parser.add_argument(
        "-a", "--and", dest="all_words", action="store_true", help="all of the words, not any"
    )
    parser.add_argument("-l", "--long", action="store_true", help="tell where each comes from")
    parser.add_argument(
        "--labeled",
        action="store_true",
        help="only images that somebody has named: no saving__..., unless it has an alias",
    )
    parser.add_argument(
        "-p", "--public", action="store_true", help="only those of the repository, not those here"
    )
    parser.add_argument("-n", "--narrow", action="store_true", help="only names, and aliases")
    parser.add_argument(
        "--check",
        action="store_true",
        help="read each image whole; exit code 1 where one is damaged; tell also what should be"
        " one machine's own, such as ssh host keys",
    )
    parser.add_argument(
        "--remove",
        action="store_true",
        help="remove the images, or links to images, of these whole names, and nothing where one of"
        " them is in use or may not be removed; also partial images that have expired"
        " (partial_lifetime in [frisbee])",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="with --remove: only say what would be removed"
    )
    parser.add_argument("--json", action="store_true", help="one JSON document, for programs")
    parser.add_argument(
        "words", nargs="*", metavar="WORD", help="only images with one of these in a name"
    )


def run(arguments: argparse.Namespace) -> int:
    """Print the images, a directory after the other; return 1 where one is damaged."""
    settings = read_settings().frisbee
    if arguments.remove or arguments.dry_run:
        return _remove(arguments, settings)
    repository = settings.images_dir
    found = {repository: _chosen(repository, arguments)}
    here = Path.cwd()
    if (
        not arguments.public
        and not are_same(repository, here)
        and (images := _chosen(here, arguments))
    ):
        found[here] = images
    if arguments.json:
        return _print_document(found, arguments)
    code = 0
    for directory, images in found.items():
        plural = "" if len(images) == 1 else "s"
        print(f"{sanitise(str(directory))}: {len(images) or 'no'} image{plural}")
        for image in images:
            with OpenImage(image.path) as opened:
                print("\n".join(_lines(image, opened, arguments)))
                if arguments.check:
                    code |= _check(opened)
    return code


def _remove(arguments: argparse.Namespace, settings: FrisbeeSettings) -> int:
    """Say and do what is to be removed, once it is known that all can be; raises ImageError."""
    from rhubarbe.repository.removing import expire_partials, plan_removal

    if arguments.json or arguments.check or arguments.long or not arguments.remove:
        raise ImageError(
            "--dry-run goes with --remove, which lists nothing: no -l, --check, --json"
        )
    repository, only_tell = settings.images_dir, arguments.dry_run
    would = "would " if only_tell else ""
    steps = plan_removal(arguments.words, repository, settings.default_image)
    for step in steps:
        print(f"{would}{sanitise(step.words)}", flush=True)
        if not only_tell:
            step.do()
    expired = [
        line
        for place in dict.fromkeys((Path.cwd(), repository))
        for line in expire_partials(place, settings.partial_lifetime, only_tell=only_tell)
    ]
    for line in expired:
        print(f"{would}{sanitise(line)}")
    if not steps and not expired:
        print("nothing to remove: no image is named, and none that was cut short has expired")
    return 0


def _chosen(directory: Path, arguments: argparse.Namespace) -> list[Image]:
    images = list_images(directory)
    wanted = [image for image in images if _wanted(image, arguments)]
    return sorted(wanted, key=_key(arguments), reverse=arguments.reverse)


def _wanted(image: Image, arguments: argparse.Namespace) -> bool:
    combine = all if arguments.all_words else any
    names = (image.name, *image.aliases)
    if arguments.labeled and not image.aliases and image.name.startswith(UNNAMED):
        return False
    return not arguments.words or combine(
        any(word in name for name in names) for word in arguments.words
    )


def _key(arguments: argparse.Namespace) -> Callable[[Image], tuple[float, str]]:
    def key(image: Image) -> tuple[float, str]:
        if arguments.by_size:
            return image.size, image.name
        return (image.modified if arguments.by_date else 0.0), image.name

    return key


def _lines(image: Image, opened: OpenImage, arguments: argparse.Namespace) -> list[str]:
    seal = _without_seal(opened)
    aliases = f"  a.k.a. {', '.join(map(sanitise, image.aliases))}" if image.aliases else ""
    before = "" if arguments.narrow else f"{date_and_size(image.modified, image.size)}  "
    lines = [f"{before}{sanitise(image.name)}{seal}{aliases}"]
    if arguments.long:
        lines.append(f"{'':18}{_told(_stamps(opened))}")
    return lines


def _without_seal(image: OpenImage) -> str:
    try:
        return "" if image_id(image.file) else "  not sealed"
    except (ImageError, OSError):
        return "  not readable"


def _seal(image: OpenImage) -> str | None:
    try:
        return image_id(image.file)
    except (ImageError, OSError):  # it may not be read: shown as without a seal
        return None


def _stamps(image: OpenImage) -> list[Stamp]:
    try:
        return provenance(image.file)
    except ImageError:
        return []


def _told(stamps: list[Stamp]) -> str:
    """Return in words where an image comes from."""
    if not stamps:
        return "does not say where it comes from"
    last = stamps[-1]
    words = f"of {last.node}, " if last.node else ""
    words += f"{last.date}, by {last.user}"
    words += f": {last.comment}" if last.comment else ""
    before = ancestors(stamps)
    return sanitise(words + (f"; from {', '.join(before)}" if before else ""), 500)


def _check(image: OpenImage) -> int:
    try:
        summary = image.check()
    except ImageError as error:
        print(f"{'':18}DAMAGED: {sanitise(str(error))}", flush=True)
        return 1
    plural = "" if summary.chunks == 1 else "s"
    print(f"{'':18}whole: {summary.chunks} chunk{plural}", flush=True)
    if own := _own(image):
        print(f"{'':18}holds what should be one machine's own: {', '.join(own)}", flush=True)
    return 0


def _own(image: OpenImage) -> list[str]:
    """Return what an image holds that nodes should not share, as far as it can be looked into."""
    from rhubarbe.repository.own import own_things
    from rhubarbe.repository.sectors import Deadline

    try:
        return own_things(image.file, Deadline())
    except ImageError:
        return []


def _print_document(found: dict[Path, list[Image]], arguments: argparse.Namespace) -> int:

    document = [
        {"directory": str(directory), "images": [_object(image, arguments) for image in images]}
        for directory, images in found.items()
    ]
    print(json.dumps(document, indent=2))
    return int(any(item.get("damage") for each in document for item in _items(each)))


def _items(part: dict[str, Any]) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = part["images"]
    return items


def _object(image: Image, arguments: argparse.Namespace) -> dict[str, Any]:
    with OpenImage(image.path) as opened:
        return _looked_into(image, opened, arguments)


def _looked_into(image: Image, opened: OpenImage, arguments: argparse.Namespace) -> dict[str, Any]:

    from datetime import datetime  # it takes its time to import

    seal = _seal(opened)
    told: dict[str, Any] = {
        "name": image.name,
        "path": str(image.path),
        "size": image.size,
        "date": datetime.fromtimestamp(image.modified).astimezone().isoformat(),
        "aliases": list(image.aliases),
        "sealed": seal is not None,
        "id": seal,
    }
    if arguments.long:
        told |= _provenance(_stamps(opened))
    if arguments.check:
        try:
            opened.check()
            told["damage"] = None
            told["own"] = _own(opened)
        except ImageError as error:
            told["damage"] = str(error)
    return told


def _provenance(stamps: list[Stamp]) -> dict[str, Any]:
    last = stamps[-1] if stamps else Stamp("", "", "", "", "")
    return {
        "saved": {
            "node": last.node,
            "date": last.date,
            "user": last.user,
            "comment": last.comment,
        }
        if stamps
        else None,
        "from": ancestors(stamps),
    }
