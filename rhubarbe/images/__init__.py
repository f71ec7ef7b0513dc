"""Where images live, how they are named and found, and what they say of themselves.

Images are `NAME.ndz`. `-i NAME` is a path, or a name looked for in the current directory, then in
the repository, with or without `.ndz`. A name that ends in `.partial` is an image in the making,
or what is left of one: never taken for an image.
"""

from rhubarbe.images.checking import check_image
from rhubarbe.images.finding import find_image, known_names, near_names, stranger_of
from rhubarbe.images.listing import Image, list_images
from rhubarbe.images.naming import (
    PARTIAL,
    SUFFIX,
    is_name,
    new_image_path,
    partial_path,
    publish,
    sync_directory,
    withdraw,
)
from rhubarbe.images.provenance import Stamp, ancestors, parse_stamps, provenance, stamps_of

__all__ = [
    "PARTIAL",
    "SUFFIX",
    "Image",
    "Stamp",
    "ancestors",
    "check_image",
    "find_image",
    "is_name",
    "known_names",
    "list_images",
    "near_names",
    "new_image_path",
    "parse_stamps",
    "partial_path",
    "provenance",
    "publish",
    "stamps_of",
    "stranger_of",
    "sync_directory",
    "withdraw",
]
