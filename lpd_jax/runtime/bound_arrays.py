"""Functions with arrays bound to them, compiled so that the arrays are inputs, not constants.

A frozen network's weights, closed over, would be written into the program, megabyte by megabyte.
Bound by `jax.tree_util.Partial` they are a tree that `compile_with` hands over in every call.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from lpd_jax.runtime.mesh import spread


def compile_with(function: Callable, mesh: jax.sharding.Mesh | None = None, **options: Any) -> Any:
    """`function` compiled, with arrays that are bound to it as inputs.

    Args:
        function: a plain one, or a `jax.tree_util.Partial`.
        mesh: on whose devices bound arrays lie whole; None leaves them where they are.
        options: of `jax.jit`; numbers of arguments count from those of `function`.
    """
    if not isinstance(function, jax.tree_util.Partial):
        return jax.jit(function, **options)
    if mesh is not None:
        everywhere = jax.sharding.NamedSharding(mesh, jax.P())
        function = jax.tree.map(lambda leaf: spread(np.asarray(leaf), everywhere), function)
    if "donate_argnums" in options:
        options["donate_argnums"] += 1
    compiled = jax.jit(lambda function, *arguments: function(*arguments), **options)
    return Bound(compiled, function)


class Bound(NamedTuple):
    """A compiled function with its first argument."""

    compiled: Any
    first: Any

    def __call__(self, *arguments: Any) -> Any:
        return self.compiled(self.first, *arguments)

    def lower(self, *arguments: Any) -> Any:
        return self.compiled.lower(self.first, *arguments)

    def trace(self, *arguments: Any) -> Any:
        return self.compiled.trace(self.first, *arguments)
