"""Memory of the machine, or of its device, that does not suffice: one line that says what does."""

import re

from lpd_jax.runtime.disk_faults import DiskError
from lpd_jax.runtime.errors import one_line

FULL_MEMORY = re.compile("RESOURCE_EXHAUSTED|OUT_OF_MEMORY|[Oo]ut of memory")
TAKES_LESS = "a smaller batch size, fewer pixels or a smaller model take less"


class FullMemoryError(DiskError):
    """There is not enough memory; nothing is wrong with what the user gave, but its size."""


def full_memory(error: Exception, remedy: str = TAKES_LESS) -> FullMemoryError | None:
    """The error that says so, where one of JAX, of XLA or of Python tells of it.

    Args:
        remedy: what the line ends with.
    """
    if not isinstance(error, MemoryError) and not FULL_MEMORY.search(str(error)):
        return None
    return FullMemoryError(f"memory: there is not enough of it ({one_line(error)}); {remedy}")
