"""Files with get_config() that somebody wrote: what is wrong with one, in a line."""

import os
import re
import sys
import traceback
from collections.abc import Mapping, Sequence
from typing import Any

from absl import flags
from ml_collections import ConfigDict, FrozenConfigDict

from lpd_jax.runtime.errors import UserError, shown, shown_path

CONFIG_FLAG = re.compile(r"--?config(?:=(?P<value>.*))?", re.DOTALL)
HOME = re.compile("(^|^--?config=)~/")
SECTION_FLAG = re.compile(r"--?(?:no)?config\.(\w+)\.\w")
WITHOUT_FUNCTION = "has no attribute 'get_config'"


class SectionsParser(flags.ArgumentParser):
    """Reads a config file, and adds the sections whose fields only the command line gives.

    ml_collections takes new fields of the sections that are there.
    """

    def __init__(self, file_parser: flags.ArgumentParser):
        self.file_parser = file_parser

    def parse(self, argument: str) -> object:
        config = self.file_parser.parse(argument)
        if isinstance(config, Mapping | FrozenConfigDict):
            config = ConfigDict(config)
        if isinstance(config, ConfigDict):
            config.unlock()  # new fields are for who reads it to refuse
            for name in sections_given(sys.argv):
                if name not in config:
                    config[name] = ConfigDict()
        return config

    def flag_type(self) -> str:
        return str(self.file_parser.flag_type())


def config_fields(config: Any) -> dict[str, Any]:
    """What get_config() gave, as nested dictionaries; UserError for anything but fields."""
    if isinstance(config, Mapping):
        return dict(config)
    if hasattr(config, "to_dict"):  # of a file that could not be read, this raises why
        return dict(config.to_dict())
    raise UserError(f"config: got {shown(config)} of get_config(), allowed is a ConfigDict")


def problem_in_config(error: Exception, file: str | None) -> UserError | None:
    """Where a config file fails, by its line; None where it was not the file that failed.

    Args:
        error: of reading it, or of what it did.
        file: that --config names, if one is named.
    """
    if file is None:
        return None
    if problem := problem_with_path(file):
        return problem
    if said := said_by_config(error):
        return said
    if isinstance(error, AttributeError) and WITHOUT_FUNCTION in str(error):
        return UserError(f"config: got {shown_path(file)}, allowed are files with get_config()")
    lines = [
        frame.lineno
        for frame in traceback.extract_tb(error.__traceback__)
        if os.path.abspath(frame.filename) == os.path.abspath(file)
    ]
    reason = str(error)
    if isinstance(error, SyntaxError):
        # Of the file, or of one that it imports.
        file, lines, reason = error.filename or file, [error.lineno], error.msg
    if not lines:
        return None
    reason = f"{type(error).__name__}: {reason}" if reason else type(error).__name__
    return UserError(f"config: got {shown_path(file)}, which fails in line {lines[-1]}: {reason}")


def said_by_config(error: BaseException) -> UserError | None:
    """What get_config() says of what stands behind the colon, without what wraps it."""
    said, inner = None, error.__cause__ or error.__context__
    while inner is not None:
        said = inner if isinstance(inner, UserError) else said
        inner = inner.__cause__ or inner.__context__
    return said


def problem_with_path(file: str | None) -> UserError | None:
    """What is wrong where --config names a file that is not there."""
    if file is None or (os.path.exists(file) and not os.path.isdir(file)):
        return None
    got = "a folder" if os.path.isdir(file) else "no file"
    return UserError(
        f"config: got {shown_path(file)}, which is {got}; allowed are files with get_config()"
    )


def config_file(argv: Sequence[str]) -> str | None:
    """The file that --config names, without what stands behind its colon."""
    for argument, following in zip(argv, [*argv[1:], ""], strict=True):
        if match := CONFIG_FLAG.fullmatch(argument):
            value = following if match["value"] is None else match["value"]
            return value.partition(":")[0]
    return None


def config_first(argv: Sequence[str]) -> list[str]:
    """The arguments with --config in front: ml_collections wants it before its fields."""
    program, *options = argv
    for index, option in enumerate(options):
        if option == "--":  # no option follows
            break
        if match := CONFIG_FLAG.fullmatch(option):
            end = index + (2 if match["value"] is None else 1)
            config = [HOME.sub(expanded, part) for part in options[index:end]]
            return [program, *config, *options[:index], *options[end:]]
    return list(argv)


def expanded(found: re.Match) -> str:
    """What HOME finds with the user's folder, which no shell fills in behind a "="."""
    return f"{found[1]}{os.path.expanduser('~/')}"


def sections_given(argv: Sequence[str]) -> list[str]:
    """Names of the sections of which arguments give a field: "every" of --config.every.log=1."""
    found = (SECTION_FLAG.match(argument) for argument in argv)
    return list(dict.fromkeys(match[1] for match in found if match))
