"""List the images of the repository, and of the current directory: size, date, name, aliases."""

import argparse
from pathlib import Path

from rhubarbe.cli.arguments import example, read_settings
from rhubarbe.images import Image, list_images

EPILOG = example("rhubarbe-images -d fedora")

MIB = 1 << 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what images takes."""
    order = parser.add_mutually_exclusive_group()
    order.add_argument("-s", "--by-size", action="store_true", help="sort by size, not by name")
    order.add_argument("-d", "--by-date", action="store_true", help="sort by date, not by name")
    parser.add_argument("-r", "--reverse", action="store_true", help="the other way round")
    parser.add_argument(
        "words", nargs="*", metavar="WORD", help="only images with one of these in a name"
    )


def run(arguments: argparse.Namespace) -> int:
    """Print the images, a directory after the other."""
    repository = read_settings().frisbee.images_dir
    directories = [repository]
    if Path().resolve() != repository.resolve() and list_images(Path()):
        directories.append(Path().absolute())
    for directory in directories:
        images = [image for image in list_images(directory) if _wanted(image, arguments.words)]
        print(f"{directory}: {len(images) or 'no'} image{'' if len(images) == 1 else 's'}")
        for image in _sorted(images, arguments):
            print(_line(image))
    return 0


def _wanted(image: Image, words: list[str]) -> bool:
    names = (image.name, *image.aliases)
    return not words or any(word in name for word in words for name in names)


def _sorted(images: list[Image], arguments: argparse.Namespace) -> list[Image]:
    def key(image: Image) -> tuple[float, str]:
        if arguments.by_size:
            return image.size, image.name
        return (image.modified.timestamp() if arguments.by_date else 0.0), image.name

    return sorted(images, key=key, reverse=arguments.reverse)


def _line(image: Image) -> str:
    aliases = f"  a.k.a. {', '.join(image.aliases)}" if image.aliases else ""
    return f"{image.modified:%Y-%m-%d %H:%M}  {image.size / MIB:10.2f}M  {image.name}{aliases}"
