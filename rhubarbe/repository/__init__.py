"""Where images live, how they are named and found, and what they say of themselves.

Images are `NAME.ndz`. `-i NAME` is a path, or a name looked for in the current directory, then in
the repository, with or without `.ndz`. A name that ends in `.partial` is an image in the making,
or what is left of one: never taken for an image.
"""

from rhubarbe.repository.checking import check_image
from rhubarbe.repository.finding import (
    find_image,
    known_names,
    near_names,
    real_path,
    stranger_of,
)
from rhubarbe.repository.listing import Image, list_images
from rhubarbe.repository.naming import (
    PARTIAL,
    SUFFIX,
    is_name,
    is_taken,
    new_image_path,
    partial_path,
)
from rhubarbe.repository.opening import OpenImage
from rhubarbe.repository.provenance import Stamp, ancestors, parse_stamps, provenance, stamps_of

__all__ = [
    "PARTIAL",
    "SUFFIX",
    "Image",
    "OpenImage",
    "Stamp",
    "ancestors",
    "check_image",
    "find_image",
    "is_name",
    "is_taken",
    "known_names",
    "list_images",
    "near_names",
    "new_image_path",
    "parse_stamps",
    "partial_path",
    "provenance",
    "real_path",
    "stamps_of",
    "stranger_of",
]
