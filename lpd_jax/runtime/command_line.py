"""How every launch script starts and fails: one line that says what is wrong, exit code 2.

With LPD_JAX_TRACEBACK=1 in the environment the full traceback comes instead.
"""

import difflib
import logging
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence

from absl import app, flags
from ml_collections import ConfigDict, config_flags

from lpd_jax.runtime import compilation_cache
from lpd_jax.runtime.errors import UserError

USAGE_EXIT_CODE = 2


def run(main: Callable[..., object], commands: Sequence[str] = ()) -> None:
    """Parses the flags, calls `main()`, and exits: 0, or 2 with one line on standard error.

    With `commands`, one of them must stand among the options, and `main` is given it.

    ValueError, OSError (a missing file, a full disk) and KeyError with a sentence in it are the
    user's to read. Anything else is a defect and keeps its traceback.
    """
    flags.FLAGS.set_gnu_getopt(bool(commands))  # options may follow the command

    def guarded_main(argv: Sequence[str]) -> int:
        if not flags.FLAGS["verbosity"].present:
            # It tells of every kind of device that is not there.
            logging.getLogger("jax").setLevel(logging.WARNING)
        compilation_cache.keep_compiled_programs()
        try:
            main(*_chosen_command(argv[1:], commands))
        except (ValueError, OSError, KeyError) as error:
            if os.environ.get("LPD_JAX_TRACEBACK") or not _is_for_users(error):
                raise
            return _fail(error)
        return 0

    app.run(guarded_main, flags_parser=_parse_flags)


def _chosen_command(arguments: Sequence[str], commands: Sequence[str]) -> Sequence[str]:
    """The command among the arguments that are no options: one, or none where none is defined."""
    chosen, rest = (arguments[:1], arguments[1:]) if commands else ((), arguments)
    if commands and (not chosen or chosen[0] not in commands):
        got = repr(chosen[0]) if chosen else "none"
        raise UserError(f"command: got {got}, allowed are {', '.join(commands)}")
    if rest:
        raise UserError(f"argument {rest[0]!r}: allowed are options of the form --name=value")
    return chosen


def define_config(help_text: str) -> flags.FlagHolder:
    """The flag --config=FILE, and --config.field=value for each field of a section of it.

    Fields that the file leaves to their defaults can be given too; who reads the config refuses
    names and types that it does not know.
    """
    holder = config_flags.DEFINE_config_file(
        "config", None, help_text, lock_config=False, accept_new_attributes=True
    )
    flags.mark_flag_as_required("config")
    return holder


def whole_number(name: str, text: str) -> int:
    """One entry of a list flag; ValueError names the flag."""
    try:
        return int(text)
    except ValueError:
        raise UserError(f"{name}: got {text!r}, allowed are whole numbers") from None


def _parse_flags(argv: Sequence[str]) -> list[str]:
    """Like absl's own parser, which exits with code 1 after several lines.

    A config file and its overrides are read here too, hence the other kinds of error.
    """
    try:
        return flags.FLAGS(argv)
    except (flags.Error, ValueError, TypeError, AttributeError, KeyError, OSError) as error:
        if os.environ.get("LPD_JAX_TRACEBACK"):
            raise
        problem = _unknown_config_field(list(argv))
        sys.exit(_fail(UserError(problem) if problem else error))


def _unknown_config_field(argv: list[str]) -> str | None:
    """What is wrong with `--config.model.num_layrs=3`, of which ml_collections says 'num_layrs'.

    The config is read once more, without its overrides; they come from sys.argv, wherever the
    other flags come from.
    """
    overrides = [x for x in argv[1:] if re.match(r"--?\w+\.\w", x)]
    sys.argv = argv = [x for x in argv if x not in overrides]
    try:
        flags.FLAGS(argv)
    except (flags.Error, ValueError, TypeError, AttributeError, KeyError, OSError):
        return None
    for argument in overrides:
        flag, *path = argument.lstrip("-").split("=")[0].split(".")
        fields = flags.FLAGS[flag].value if flag in flags.FLAGS else None
        for name in path:
            if not isinstance(fields, Mapping | ConfigDict):
                break
            if name not in fields:
                close = difflib.get_close_matches(name, fields, n=1)
                hint = f" (did you mean {close[0]!r}?)" if close else ""
                known = ", ".join(sorted(fields))
                return f"{argument}: no config field {name!r}{hint}; allowed are {known}"
            fields = fields[name]
    return None


def _is_for_users(error: Exception) -> bool:
    """A bare `KeyError: 'name'` says nothing to a user: it is a defect of ours."""
    return not isinstance(error, KeyError) or " " in str(error.args[0])


def _fail(error: Exception) -> int:
    program = os.path.basename(sys.argv[0])
    print(f"{program}: {one_line(error)}", file=sys.stderr)
    return USAGE_EXIT_CODE


def one_line(error: Exception) -> str:
    """The message of an error on one line: lines of a list are joined by semicolons.

    "does not fit:\\n  missing a\\n  missing b" -> "does not fit: missing a; missing b"
    """
    message = str(error.args[0]) if isinstance(error, KeyError) else str(error)
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    return "; ".join(lines).replace(":; ", ": ") or type(error).__name__
