"""The steps of sharing an image, each with its words; what each touches, it opens once."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from rhubarbe.errors import ImageError, why
from rhubarbe.repository import PARTIAL, OpenImage, check_image, is_taken, partial_path
from rhubarbe.repository.copying import copied, partial_file
from rhubarbe.shared.directory import READABLE, Directory
from rhubarbe.shared.placing import place
from rhubarbe.writers import may_others_write


class Step(Protocol):
    """One thing to do; `do` raises ImageError."""

    @property
    def words(self) -> str:
        """What it does, as an order."""
        ...

    def do(self) -> None:
        """Do it."""
        ...


@dataclass(frozen=True, slots=True)
class Check:
    """Read an image whole."""

    image: OpenImage

    @property
    def words(self) -> str:
        """What it does, as an order."""
        return f"check {self.image.path}"

    def do(self) -> None:
        """Do it; raises ImageError where it is damaged."""
        try:
            self.image.check()
        except BaseException:
            self.image.close()
            raise


@dataclass(frozen=True, slots=True)
class Move:
    """Give an image its place in the repository; it has its name there only when it is whole.

    What was checked is what is moved, whatever has its name meanwhile.
    """

    image: OpenImage
    target: Path
    replaces: bool

    @property
    def words(self) -> str:
        """What it does, as an order."""
        verb = "replace" if self.replaces and is_taken(self.target) else "make"
        return f"{verb} {self.target} from {self.image.path}"

    def do(self) -> None:
        """Do it, by a new name where that is possible, else by a copy that is checked as well."""
        image = self.image
        try:
            if self._is_ours_here():
                self._name()
            else:
                self._copy()
            image.forget()
        except FileExistsError as error:
            raise ImageError(f"{self.target}: exists already") from error
        except OSError as error:
            raise ImageError(
                f"{image.path}: not wholly moved to {self.target}: {why(error)}"
            ) from error
        finally:
            image.close()

    def _name(self) -> None:
        image = self.image
        os.fchmod(image.descriptor, READABLE)  # the repository is everybody's, whatever our umask
        with Directory.open(self.target.parent, follows=True) as directory:
            name = self.target.name
            place(image.descriptor, image.place, directory, name, replaces=self.replaces)

    def _copy(self) -> None:
        partial = partial_path(self.target)
        with copied(self.image.descriptor, partial) as copy:
            check_image(partial, file=copy.file)
            try:
                copy.publish(self.target.name, READABLE, replaces=self.replaces)
            except FileExistsError as error:
                raise ImageError(f"{self.target}: exists already") from error

    def _is_ours_here(self) -> bool:
        """Whether the file is only ours and on that disk, so that a new name is enough."""
        status = self.image.status
        with Directory.open(self.target.parent, follows=True) as directory:
            is_here = status.st_dev == directory.status.st_dev
        is_ours = status.st_uid == os.geteuid() and not may_others_write(self.image.descriptor)
        return is_here and is_ours and status.st_nlink == 1


@dataclass(frozen=True, slots=True)
class Alias:
    """Make a link to an image, in place of a link of that name."""

    link: Path
    image: Path

    @property
    def words(self) -> str:
        """What it does, as an order."""
        former = link_at(self.link)
        before = f" (not {former})" if former is not None else ""
        return f"let {self.link} be {self.image.name}{before}"

    def do(self) -> None:
        """Do it in one step, without a moment in which there is no such name."""
        name = self.link.name
        try:
            with Directory.open(self.link.parent, follows=True) as directory:
                if directory.is_file(name):
                    raise ImageError(f"{self.link}: is an image, and cannot become an alias")
                directory.set_link(name, self.image.name)
                directory.sync()
        except OSError as error:
            raise ImageError(f"{self.link}: cannot be made: {why(error)}") from error


def link_at(path: Path) -> str | None:
    """Return where a link leads; None for what is no link, or not there."""
    try:
        with Directory.open(path.parent, follows=True) as directory:
            return directory.link_at(path.name)
    except OSError:
        return None


@dataclass(frozen=True, slots=True)
class Remove:
    """Remove an older save, or what is left of one."""

    path: Path

    @property
    def words(self) -> str:
        """What it does, as an order."""
        return f"remove {self.path}"

    def do(self) -> None:
        """Do it, unless somebody is writing it."""
        try:
            if self.path.name.endswith(PARTIAL):
                with partial_file(self.path) as partial:
                    partial.forget()
            else:
                with Directory.open(self.path.parent, follows=True) as directory:
                    directory.unlink(self.path.name)
        except FileNotFoundError:
            return
        except OSError as error:
            raise ImageError(f"{self.path}: cannot be removed: {why(error)}") from error
