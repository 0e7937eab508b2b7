"""From labels to pictures: a checked request, batches, drawing, editing.

`lpd_jax.Pipeline` calls this room. A program with parameters of its own makes a `Request` and hands
its parts to `generate_tokens` or `generate_images`.
"""

from lpd_jax.generation.animation import partial_images
from lpd_jax.generation.generate import generate_images, generate_tokens
from lpd_jax.generation.request import Request, make_request

__all__ = ["Request", "generate_images", "generate_tokens", "make_request", "partial_images"]
