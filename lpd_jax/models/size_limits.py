"""How large the parts of a model may be: twenty times the largest published, and no more.

A config.json is somebody else's file. Its sizes are bounded before anything is allocated, traced or
built of them; whether the weights are of these sizes is asked next.
"""

from lpd_jax.runtime.errors import UserError

MOST_LAYERS = 1024
MOST_WIDTH = 2**16
MOST_CODES = 2**24
MOST_CLASSES = 2**24
MOST_ANGLES = 2**24  # of a table of rotary positions: tokens x width of a head


def check_heads(
    embed_dim: int, num_heads: int, multiple: int = 1, most: int = MOST_WIDTH, least: int = 1
) -> None:
    """Raises UserError unless the heads cut the width into equal parts.

    Args:
        multiple: the width of a head is one of it.
        most: the width of a head is at most that.
        least: the width of a head is at least that.
    """
    width, rest = divmod(embed_dim, num_heads)
    if rest or width % multiple or not least <= width <= most:
        parts = f"numbers that cut embed_dim {embed_dim} into multiples of {multiple}"
        allowed = parts if multiple > 1 else f"divisors of embed_dim {embed_dim}"
        limit = f", of at most {most:,}" if width > most else ""
        if multiple < least:
            limit = f", of at least {least}"
        raise UserError(f"num_heads: got {num_heads}, allowed are {allowed}{limit}")
