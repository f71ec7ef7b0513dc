"""The configuration: layered INI files, read once into frozen, typed settings."""

from rhubarbe.config.layers import configuration_files, load_settings
from rhubarbe.config.settings import SECTIONS, Settings

__all__ = ["SECTIONS", "Settings", "configuration_files", "load_settings"]
