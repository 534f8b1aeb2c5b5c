"""TOML files read into strict models: all mistakes reported at once, with file, line and key."""

from allocsim.strict_toml.file import TomlFile, check_model, load_toml, read_toml, show_path
from allocsim.strict_toml.lines import KeyLines, KeyPath
from allocsim.strict_toml.model import SizeBytes, StrictModel, parse_size
from allocsim.strict_toml.problems import Problem, shortened, unknown

__all__ = [
    "KeyLines",
    "KeyPath",
    "Problem",
    "SizeBytes",
    "StrictModel",
    "TomlFile",
    "check_model",
    "load_toml",
    "parse_size",
    "read_toml",
    "shortened",
    "show_path",
    "unknown",
]
