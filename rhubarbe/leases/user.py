"""Who asks for the testbed: the kernel says it, never the environment."""

import os
import pwd
from dataclasses import dataclass

from rhubarbe.config import Settings
from rhubarbe.shared.trust import name_of


@dataclass(frozen=True, slots=True)
class User:
    """A user of this gateway."""

    uid: int
    name: str

    @property
    def is_root(self) -> bool:
        """Whether this is the superuser, who is always allowed."""
        return self.uid == 0

    def needs_no_lease(self, settings: Settings) -> bool:
        """Whether this is root, or one of those whom root has named as privileged."""
        return self.is_root or self.name in settings.accounts.privileged


def user_of(uid: int) -> User:
    """Return the user of this number, whose name is the number where it has none."""
    return User(uid, name_of(uid))


def user_called(name: str) -> User | None:
    """Return the user of this name, or None where there is none."""
    try:
        return User(pwd.getpwnam(name).pw_uid, name)
    except KeyError:
        return None


def current_user() -> User:
    """Return the user of this process."""
    return user_of(os.getuid())
