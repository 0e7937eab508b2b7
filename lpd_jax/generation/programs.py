"""Compiled programs, as many as fit: the one that was not used for longest goes first."""

import collections
from collections.abc import Callable, Hashable
from typing import Any

# Each new schedule compiles some 30 MB of code in 600 memory maps, of which a process may have
# 65,530: a server that keeps every program dies of variety.
MOST_PROGRAMS = 48


class Programs:
    """Programs by what they were compiled for; pickles and copies without them."""

    def __init__(self, most: int = MOST_PROGRAMS):
        self.most, self.num_compiled = most, 0
        self._kept: collections.OrderedDict[Hashable, Any] = collections.OrderedDict()

    def find(self, key: Hashable, compile_program: Callable[[], Any]) -> Any:
        """The program of a key, compiled now if it is not there."""
        if key not in self._kept:
            self._kept[key] = compile_program()
            self.num_compiled += 1
        self._kept.move_to_end(key)
        while len(self._kept) > self.most:
            self._kept.popitem(last=False)
        return self._kept[key]

    def __len__(self) -> int:
        return len(self._kept)

    def __reduce__(self) -> tuple[type["Programs"], tuple[int]]:
        return Programs, (self.most,)
