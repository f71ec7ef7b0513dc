"""An image that is opened once: what is looked at and checked is what is used then."""

import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Self

from rhubarbe.concurrency.time_limit import within
from rhubarbe.errors import ImageError, why
from rhubarbe.ndz.mark import edition
from rhubarbe.repository.checking import check_image
from rhubarbe.shared.directory import Directory, StrPath, path_of
from rhubarbe.shared.in_use import say_in_use
from rhubarbe.shared.own import find_file
from rhubarbe.shared.placing import forget
from rhubarbe.shared.trust import Distrust

if TYPE_CHECKING:
    from rhubarbe.ndz.check import ImageSummary
    from rhubarbe.ndz.manifest import ManifestMaker

OPENED_WITHIN_S = 10.0


class OpenImage:
    """An image, opened at its first use; a context manager, which closes it."""

    def __init__(self, path: StrPath, *, follows: bool = True, keeps: bool = False) -> None:
        """Speak of it as `path`; once it is open, as what that leads to, if it `follows`.

        Where it `keeps` the image, nobody removes that by a command of ours meanwhile.
        """
        self._path = os.fspath(path)
        self._follows = follows
        self._keeps = keeps
        self._directory: Directory | None = None
        self._name = ""
        self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def path(self) -> Path:
        """How it is called."""
        return Path(self._path)

    @property
    def descriptor(self) -> int:
        """The open file; raises ImageError."""
        if self._descriptor < 0:
            try:
                within(OPENED_WITHIN_S, self._open)
            except Distrust as error:
                raise ImageError(str(error)) from error
            except OSError as error:
                raise ImageError(f"{self._path}: cannot be opened: {why(error)}") from error
        return self._descriptor

    def _open(self) -> None:
        found = find_file(self._path, follows=self._follows, aliases=True)
        if found is None:
            raise Distrust(f"{self._path}: is no file")
        directory, name = found
        try:
            self._descriptor = directory.open_file(name, many_names=True)
        except BaseException:
            directory.close()
            raise
        if self._keeps:
            say_in_use(self._descriptor)
        self._directory, self._name = directory, name
        self._path = directory.where(name)

    @property
    def place(self) -> tuple[Directory, str]:
        """The directory it was found in, and its name there; raises ImageError."""
        _ = self.descriptor
        assert self._directory is not None  # noqa: S101 - for type checkers
        return self._directory, self._name

    @property
    def status(self) -> os.stat_result:
        """What the kernel says of the open file; raises ImageError."""
        return os.fstat(self.descriptor)

    @property
    def edition(self) -> tuple[int, int]:
        """What is another once the open file was written to: its size, and when that was."""
        return edition(self.descriptor)

    @property
    def file(self) -> str:
        """A path by which we open that very file, as do children that inherit it."""
        return path_of(self.descriptor)

    def check(
        self, stop: threading.Event | None = None, manifest: "ManifestMaker | None" = None
    ) -> "ImageSummary":
        """Read and check the whole image, and make its manifest on the way; raises ImageError."""
        file = self.file
        return check_image(self._path, stop, file, manifest)

    def close(self) -> None:
        """Close the file, if it is open."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
        if self._directory is not None:
            self._directory.close()
        self._directory, self._descriptor = None, -1

    def forget(self) -> None:
        """Remove its name, unless something else has that name meanwhile; raises OSError."""
        forget(self.descriptor, *self.place)
