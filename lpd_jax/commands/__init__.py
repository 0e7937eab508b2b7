"""The commands: `launch/NAME.py` and, once installed, `lpd-NAME` are `lpd_jax.commands.NAME`.

Each module defines its options as it is imported, so a process imports one of them. `main` does the
work, `run` is what a shell starts.
"""

import os
import sys
from types import TracebackType

show_error = sys.excepthook


def say_stopped(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """One line for Ctrl-C while modules are imported and options read, as `run` has it later."""
    if not issubclass(kind, KeyboardInterrupt) or os.environ.get("LPD_JAX_TRACEBACK"):
        show_error(kind, error, trace)
        return
    print(f"{os.path.basename(sys.argv[0])}: stopped", file=sys.stderr, flush=True)
    os._exit(130)


sys.excepthook = say_stopped

try:
    import jax as jax  # reads its variables: one that it does not understand is an error here
except ValueError as error:
    if "JAX_" not in str(error).upper() or os.environ.get("LPD_JAX_TRACEBACK"):
        raise
    print(f"{os.path.basename(sys.argv[0])}: {error}", file=sys.stderr)
    sys.exit(2)

from lpd_jax.runtime.interrupts import send_lost_again  # noqa: E402 - after JAX, which it imports

send_lost_again()
