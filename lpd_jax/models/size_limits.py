"""How large the parts of a model may be: twenty times the largest published, and no more.

A config.json is somebody else's file. Its sizes are bounded before anything is allocated, traced or
built of them; whether the weights are of these sizes is asked next.
"""

from lpd_jax.runtime.errors import UserError

MOST_LAYERS = 1024
MOST_WIDTH = 2**16
MOST_CODES = 2**24
MOST_CLASSES = 2**24
MOST_HEAD_WIDTH = 1024


def check_heads(embed_dim: int, num_heads: int, multiple: int = 1) -> None:
    """Raises UserError unless the heads cut the width into equal parts, multiples of `multiple`."""
    width, rest = divmod(embed_dim, num_heads)
    if rest or width % multiple or width > MOST_HEAD_WIDTH:
        cut = f"numbers that cut embed_dim {embed_dim} into multiples of {multiple}"
        allowed = cut if multiple > 1 else f"divisors of embed_dim {embed_dim}"
        raise UserError(
            f"num_heads: got {num_heads}, allowed are {allowed}, heads of at most {MOST_HEAD_WIDTH}"
        )
