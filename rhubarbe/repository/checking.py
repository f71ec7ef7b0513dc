"""Whether a whole image is undamaged."""

import threading
from typing import TYPE_CHECKING

from rhubarbe.errors import ImageError
from rhubarbe.shared.directory import StrPath

if TYPE_CHECKING:
    from rhubarbe.ndz.check import ImageSummary
    from rhubarbe.ndz.manifest import ManifestMaker


def check_image(
    path: StrPath,
    stop: threading.Event | None = None,
    file: str | None = None,
    manifest: "ManifestMaker | None" = None,
) -> "ImageSummary":
    """Read and check a whole image; raises ImageError naming the chunk that is missing or bad.

    `file` is where to read it, if that is not the path that messages shall have; `manifest`, if
    any, is made on the way.
    Takes its time and all cores: to be called in a thread. It ends soon once `stop` is set.
    """
    # Most of those who ask about images check none: they need not wait for this.
    from rhubarbe.ndz.check import check_file
    from rhubarbe.ndz.errors import NdzError

    try:
        return check_file(file or path, stop=stop, manifest=manifest)
    except (NdzError, OSError) as error:
        text = str(error) if file is None else str(error).replace(file, str(path))
        raise ImageError(
            text if text.startswith(str(path)) else f"{path}: damaged image: {text}"
        ) from error
