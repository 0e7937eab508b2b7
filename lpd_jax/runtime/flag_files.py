"""Options from files, `--flagfile=FILE`, and what is wrong with the value of one."""

import contextlib
import re
from collections.abc import Sequence

from absl import flags

from lpd_jax.runtime.errors import UserError, shown

MOST_HINTED = 1e18
NO_NUMBER = re.compile(
    r"flag --(?P<name>[\w.]+)=(?P<value>.*): "
    r"(?:(?P<whole>invalid literal for int)|could not convert string to float).*",
    re.DOTALL,
)


def with_flag_files(argv: Sequence[str]) -> list[str]:
    """The arguments of a process with what such files hold in place of their names.

    absl does so too, but later: ml_collections finds no field of a config in a file then.

    Raises:
        UserError: a file that cannot be read.
    """
    program, *options = argv
    try:
        return [program, *flags.FLAGS.read_flags_from_files(options)]
    except (flags.Error, ValueError) as error:  # a ValueError: it is no text
        problem = str(error).removeprefix("ERROR:: ")
        raise UserError(f"flagfile: {problem}; allowed are files of one option a line") from None


def problem_with_number(error: Exception) -> UserError | None:
    """What absl says of a value that is no number, in our words; None: it is something else.

    A whole number that is written otherwise, as 1e6, is named as it is to be written.
    """
    match = NO_NUMBER.fullmatch(str(error))
    if match is None:
        return None
    hint = ""
    if match["whole"]:
        with contextlib.suppress(ValueError, OverflowError):
            number = float(match["value"])
            hint = f", such as {int(number)}" if abs(number) < MOST_HINTED else ""
    kind = "a whole number" if match["whole"] else "a number"
    return UserError(f"{match['name']}: got {shown(match['value'])}, allowed is {kind}{hint}")
