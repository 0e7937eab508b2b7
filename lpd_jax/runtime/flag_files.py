"""Options from files: `--flagfile=FILE`, one option a line."""

from collections.abc import Sequence

from absl import flags

from lpd_jax.runtime.errors import UserError


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
