"""Long clips in chunks that equal the whole, one in memory at a time.

Dimension key: B clips, T frames, G chunks.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp


def in_chunks(
    run: Callable[[jax.Array, Any], tuple[jax.Array, Any]], x_BT: jax.Array, first: int, rest: int
) -> jax.Array:
    """Joins what a causal network gives for the chunks of clips, as a loop inside one program.

    Args:
        run: (chunk `[B, frames, ...]`, past) -> (what it gives `[B, ...]`, past): of the first
            chunk the past is None.
        x_BT: `[B, T, ...]`.
        first: frames of the first chunk; shorter clips are one.
        rest: frames of the others; the last may have fewer.
    """
    y_BT, past = run(x_BT[:, :first], None)
    outputs = [y_BT]
    num_chunks, left = divmod(max(0, x_BT.shape[1] - first), rest)
    if num_chunks:
        middle_BT = x_BT[:, first : first + num_chunks * rest]
        chunks_GB = jnp.moveaxis(
            middle_BT.reshape(len(x_BT), num_chunks, rest, *x_BT.shape[2:]), 1, 0
        )

        def step(past: Any, chunk_BT: jax.Array) -> tuple[Any, jax.Array]:
            y_BT, past = run(chunk_BT, past)
            return past, y_BT

        past, y_GBT = jax.lax.scan(step, past, chunks_GB)
        y_BGT = jnp.moveaxis(y_GBT, 0, 1)
        outputs.append(y_BGT.reshape(len(x_BT), -1, *y_BGT.shape[3:]))
    if left:
        outputs.append(run(x_BT[:, -left:], past)[0])
    return jnp.concatenate(outputs, axis=1)
