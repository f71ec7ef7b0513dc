import atexit
import os
import shutil
import sys
import tempfile
from pathlib import Path

from setuptools import Command, find_packages, setup
from setuptools.command.build import build

HERE = Path(__file__).parent
VERSION = (HERE / "rhubarbe" / "VERSION").read_text().strip()


def elsewhere() -> dict[str, dict[str, str]]:
    """Have nothing made in a checkout of another's: root who installs from it would own that."""
    if HERE.stat().st_uid == os.getuid():
        return {}
    sys.dont_write_bytecode = True
    place = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    return {"build": {"build_base": place}, "egg_info": {"egg_base": place}}


class BuildMan(Command):
    """Make the manual pages from the commands' parsers."""

    description = "make the manual pages"
    user_options = []  # noqa: RUF012 - as setuptools wants it
    editable_mode = False

    def initialize_options(self) -> None:
        """Set the defaults."""
        self.build_base: str | None = None

    def finalize_options(self) -> None:
        """Take the directory from the build."""
        self.set_undefined_options("build", ("build_base", "build_base"))

    def run(self) -> None:
        """Make the pages, and have them installed."""
        sys.path[:0] = [str(HERE), str(HERE / "man")]
        from pages import write_pages

        pages = write_pages(HERE / str(self.build_base) / "man")
        self.distribution.data_files = [("share/man/man1", [str(page) for page in pages])]


class Build(build):
    """A build with the manual pages."""

    sub_commands = [*build.sub_commands, ("build_man", None)]  # noqa: RUF012


setup(
    name="rhubarbe",
    version=VERSION,
    description="Put disk images on the nodes of a bare-metal testbed, and save them back",
    long_description=(HERE / "README.md").read_text(),
    long_description_content_type="text/markdown",
    license="MIT",
    license_files=["LICENSE"],
    python_requires=">=3.11",
    packages=find_packages(include=["rhubarbe", "rhubarbe.*"]),
    package_data={"rhubarbe": ["VERSION", "py.typed"], "rhubarbe.ramdisk_builder": ["files/*"]},
    options=elsewhere(),
    cmdclass={"build": Build, "build_man": BuildMan},
    scripts=sorted(str(path.relative_to(HERE)) for path in (HERE / "bin").iterdir()),
    install_requires=[
        "telnetlib3>=5.0.1,<6",
        "aiohttp>=3.14,<4",
        "asyncssh>=2.24,<3",
        "progressbar2>=4.6,<5",
        "shtab>=1.8,<2",
        "pyyaml>=6.0.1,<7",
        "blake3>=1.0; platform_machine in 'x86_64 aarch64 AMD64 arm64'",
        "isal>=1.7; platform_machine in 'x86_64 aarch64 AMD64 arm64'",
        "zlib-ng>=1.0; platform_machine in 'x86_64 aarch64 AMD64 arm64'",
    ],
    extras_require={
        "test": [
            "ruff==0.17.6",
            "mypy==2.4.1",
            "import-linter==2.17",
            "pytest==9.2.0",
            "pytest-asyncio==1.5.0",
            "pytest-timeout==2.4.0",
            "pytest-xdist==3.8.0",
            "pytest-cov==7.1.0",
            "hypothesis==6.170.17",
            "argparse-manpage>=4.6",
            "sushy-tools==2.2.0",
            "types-PyYAML",
            "setuptools>=84",
            "wheel",
        ],
        "mutation": ["mutmut==3.8.1"],
    },
)
