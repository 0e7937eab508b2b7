"""How many files a process may have open at once: more, where it reads from many."""

import contextlib
from typing import Any

resource: Any
try:
    import resource
except ImportError:  # no POSIX system: it has no such limit
    resource = None

OTHERS = 256  # files that a process has open for all else


def make_room(count: int) -> None:
    """Lets this process have so many files open beside others, as far as the system lets it.

    Systems allow 256 or 1,024 at first, and many more to who asks.
    """
    if resource is None:
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = count + OTHERS
    if soft == resource.RLIM_INFINITY or needed <= soft:
        return
    allowed = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    with contextlib.suppress(ValueError, OSError):  # reading says what it cannot open
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
