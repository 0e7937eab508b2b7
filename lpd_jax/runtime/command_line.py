"""How every command starts and fails: one line that says what is wrong.

Exit code 2: what the user gave. 1: the disk is full, read-only or gone, that of standard output as
well, or the memory is full. 130, 143, 129: Ctrl-C, SIGTERM, SIGHUP.
With LPD_JAX_TRACEBACK=1 in the environment the full traceback comes instead.
"""

import contextlib
import functools
import logging
import os
import re
import signal
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NoReturn

import jax
from absl import app, flags
from absl import logging as absl_logging
from ml_collections import ConfigDict, config_flags

from lpd_jax.runtime import compilation_cache
from lpd_jax.runtime.config_fields import check_known
from lpd_jax.runtime.config_files import (
    SectionsParser,
    config_file,
    config_first,
    problem_in_config,
    problem_with_path,
)
from lpd_jax.runtime.disk_faults import OF_WRITING, DiskError
from lpd_jax.runtime.errors import UserError, one_line, shown
from lpd_jax.runtime.flag_files import problem_with_number, with_flag_files
from lpd_jax.runtime.interrupts import STOPPING, send_lost_again, sigterm_interrupts
from lpd_jax.runtime.jax_settings import own_settings
from lpd_jax.runtime.memory_faults import full_memory
from lpd_jax.runtime.standard_streams import output_is_lost, prepare_streams

flags.disclaim_key_flags()  # --config is a flag of the command that asks for it: --help shows it

DISK_EXIT_CODE = 1
USAGE_EXIT_CODE = 2
LONGEST_FLAG = 200  # letters of an option's name
SIGNALLED_EXIT_CODE = 128  # and the number of the signal, as shells count
HOSTS_FLAG = "coordinator_address"  # of commands that run in several processes at once
SCRIPT = re.compile(r"python launch/(\w+)\.py")
PROGRAMS = {"app": "page"}  # of scripts whose program has another name
HELP_FLAG = re.compile(r"--?(\?|help(short|full|xml)?)(=.*)?")  # those that absl defines


def run(
    main: Callable[..., object],
    commands: Sequence[str] = (),
    more_help: Callable[[Sequence[str]], str] | None = None,
    module: str = "__main__",
) -> None:
    """Parses the flags, calls `main()`, and exits: 0, or otherwise with one line on standard error.

    With `commands`, one of them must stand among the options, and `main` is given it. `more_help`
    gives what `--help` tells at its end, of the arguments. `module` is the name of the one whose
    docstring and options `--help` shows, where that is not the script itself.

    UserError and OSError (a missing file, a full disk) are the user's to read. Anything else is a
    defect of ours and keeps its traceback, a ValueError of NumPy or JAX as well.
    """
    flags.FLAGS.set_gnu_getopt(bool(commands))  # options may follow the command
    if module != "__main__":
        _show_in_help(module)

    def guarded_main(argv: Sequence[str]) -> int:
        if not flags.FLAGS["verbosity"].present:
            # It tells of every kind of device that is not there.
            logging.getLogger("jax").setLevel(logging.WARNING)
        compilation_cache.enable_compilation_cache()
        compilation_cache.warn_once()
        # Of several processes, SIGTERM is for JAX to share.
        alone = contextlib.nullcontext() if HOSTS_FLAG in flags.FLAGS else sigterm_interrupts()
        try:
            with own_settings(), alone:
                main(*_chosen_command(argv[1:], commands))
        except (UserError, OSError) as error:
            if os.environ.get("LPD_JAX_TRACEBACK"):
                raise
            return _fail(_gone_folder(error) or error)
        except KeyboardInterrupt as stop:
            _leave(stop)
        except (RuntimeError, AssertionError, MemoryError) as error:
            known = full_memory(error) or _missing_backend()
            if known is None or os.environ.get("LPD_JAX_TRACEBACK"):
                raise
            return _fail(known)
        return DISK_EXIT_CODE if output_is_lost() else 0

    _prepare_process()
    app.run(guarded_main, flags_parser=functools.partial(_parse_flags, more_help))


def _prepare_process() -> None:
    """Signals, streams and arguments, before any of the options is parsed."""
    send_lost_again()
    # Removes a second handler, of a library that logged on import; before the streams may change.
    absl_logging.use_absl_handler()
    prepare_streams()
    _show_warnings()
    _read_flag_files()
    if "config" in flags.FLAGS:
        sys.argv = config_first(sys.argv)  # which ml_collections reads, too


def _read_flag_files() -> None:
    """Puts what --flagfile names into its place; ends the process where that cannot be read."""
    try:
        sys.argv = with_flag_files(sys.argv)
    except UserError as error:
        sys.exit(_fail(error))


def _show_warnings() -> None:
    """Also where they are errors: what a library will drop one day is no reason to end now."""
    if any(action == "error" for action, *_ in warnings.filters):
        warnings.simplefilter("default")


@contextlib.contextmanager
def imports_of(extra: str) -> Iterator[None]:
    """For what a command imports that `pip install lpd_jax` does not bring: ends in one line."""
    try:
        yield
    except ModuleNotFoundError as error:
        if os.environ.get("LPD_JAX_TRACEBACK") or (error.name or "lpd_jax").startswith("lpd_jax"):
            raise
        package = f"lpd_jax[{extra}]"
        missing = UserError(f"{error.name}: missing; allowed is after `pip install '{package}'`")
        sys.exit(_fail(missing))


def _show_in_help(module: str) -> None:
    """absl's help tells of `__main__` and of the flags that are filed under the program's name."""
    program, of_module = sys.argv[0], flags.FLAGS.flags_by_module_dict()
    of_module.setdefault(program, []).extend(of_module.pop(module, []))
    text = sys.modules[module].__doc__ or ""
    if not program.endswith(".py"):  # installed, it is called as such
        text = SCRIPT.sub(lambda match: program_of(match[1]), text)
    sys.modules["__main__"].__doc__ = text


def program_of(script: str) -> str:
    """What launch/SCRIPT.py is called once it is installed."""
    return "lpd-" + PROGRAMS.get(script, script).replace("_", "-")


def _gone_folder(error: Exception) -> UserError | None:
    """What is wrong where a shell stands in a folder that was removed."""
    if not isinstance(error, FileNotFoundError) or error.filename is not None:
        return None
    try:
        os.getcwd()
    except FileNotFoundError:
        return UserError(
            "current folder: it was removed; allowed is to start where there is one, `cd .` where "
            "it was made anew, or to give full paths"
        )
    return None


def _missing_backend() -> UserError | None:
    """What is wrong where JAX cannot start at all; its own errors are of no one class."""
    try:
        jax.default_backend()
    except (RuntimeError, AssertionError) as error:
        wanted = os.environ.get("JAX_PLATFORMS", "")
        reason = f" ({one_line(error)})" if str(error) else ""
        return UserError(
            f"JAX_PLATFORMS: got {shown(wanted)}, which cannot be started here{reason}; allowed "
            "are cpu, or nothing for what is there; NVIDIA GPUs need `pip install 'jax[cuda12]'`, "
            "TPUs `pip install 'jax[tpu]'`"
        )
    return None


def _chosen_command(arguments: Sequence[str], commands: Sequence[str]) -> Sequence[str]:
    """The command among the arguments that are no options: one, or none where none is defined."""
    chosen, rest = (arguments[:1], arguments[1:]) if commands else ((), arguments)
    if commands and (not chosen or chosen[0] not in commands):
        got = repr(chosen[0]) if chosen else "none"
        raise UserError(f"command: got {got}, allowed are {', '.join(commands)}")
    if rest:
        raise UserError(f"argument {shown(rest[0])}: allowed are options of the form --name=value")
    return chosen


def define_config(help_text: str) -> flags.FlagHolder:
    """The flag --config=FILE, and --config.field=value for each field of a section of it.

    Fields and sections that the file leaves to their defaults can be given too; who reads the
    config refuses names and types that it does not know.
    """
    _read_flag_files()  # as ml_collections does here
    holder = config_flags.DEFINE_config_file(
        "config", None, help_text, lock_config=False, accept_new_attributes=True
    )
    flag = flags.FLAGS["config"]
    flag.parser = SectionsParser(flag.parser)
    flags.mark_flag_as_required("config")
    return holder


def _parse_flags(
    more_help: Callable[[Sequence[str]], str] | None, argv: Sequence[str]
) -> list[str]:
    """Like absl's own parser, which exits with code 1 after several lines, and after its help.

    A config file and its overrides are read here too, hence the other kinds of error.
    """
    for argument in argv[1:]:
        # absl looks for similar names, letter by letter in as many nested calls.
        if argument.startswith("-") and len(argument.partition("=")[0]) > LONGEST_FLAG:
            got = shown(argument)
            sys.exit(_fail(UserError(f"option: got {got}, allowed are those that --help lists")))
    try:
        remaining = flags.FLAGS(argv)
        # That a file is not there would come later, when the config is first read.
        if file_problem := problem_with_path(_config_file(argv)):
            raise file_problem
        return remaining
    except SystemExit as end:
        asked_for_help = any(map(HELP_FLAG.fullmatch, argv[1:]))
        if asked_for_help and more_help is not None:
            print(more_help(argv[1:]))
        sys.exit(0 if asked_for_help else end.code)
    except (flags.Error, ValueError, TypeError, LookupError, AttributeError, OSError) as error:
        if os.environ.get("LPD_JAX_TRACEBACK"):
            raise
        wrong: Exception = error
        try:
            if isinstance(error, AttributeError | LookupError):  # of a name, not of a value
                _check_config_fields(list(argv))
        except UserError as unknown_field:
            wrong = unknown_field
        problem = problem_with_number(wrong) or problem_in_config(wrong, _config_file(argv))
        sys.exit(_fail(problem or wrong))
    except Exception as error:
        of_config = problem_in_config(error, _config_file(argv))
        if of_config is None or os.environ.get("LPD_JAX_TRACEBACK"):
            raise
        sys.exit(_fail(of_config))


def _config_file(argv: Sequence[str]) -> str | None:
    """The file of a command that takes one."""
    return config_file(argv) if "config" in flags.FLAGS else None


def _check_config_fields(argv: list[str]) -> None:
    """Raises UserError for `--config.model.num_layrs=3`, where ml_collections says 'num_layrs'.

    The config is read once more, without its overrides; they come from sys.argv, wherever the
    other flags come from.
    """
    overrides = [x for x in argv[1:] if re.match(r"--?\w+\.\w", x)]
    sys.argv = argv = [x for x in argv if x not in overrides]
    try:
        flags.FLAGS(argv)
    except (flags.Error, ValueError, TypeError, AttributeError, KeyError, OSError):
        return  # something else is wrong
    for argument in overrides:
        flag, *path = argument.lstrip("-").split("=")[0].split(".")
        where, fields = flag, flags.FLAGS[flag].value if flag in flags.FLAGS else None
        for name in path:
            if not isinstance(fields, Mapping | ConfigDict):
                break
            check_known(name, sorted(fields), where)
            fields, where = fields[name], f"{where}.{name}"


def _fail(error: Exception) -> int:
    _say(one_line(error))
    of_disk = isinstance(error, DiskError) or getattr(error, "errno", None) in OF_WRITING
    return DISK_EXIT_CODE if of_disk else USAGE_EXIT_CODE


def _leave(stop: KeyboardInterrupt) -> NoReturn:
    """Ends the process where threads may still work, of XLA as well, which crash as Python ends."""
    for number in STOPPING:
        signal.signal(number, signal.SIG_IGN)  # it is leaving already
    _say(str(stop) or "stopped")
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(SIGNALLED_EXIT_CODE + getattr(stop, "number", signal.SIGINT))


def _say(text: str) -> None:
    print(f"{os.path.basename(sys.argv[0])}: {text}", file=sys.stderr)
