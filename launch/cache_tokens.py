"""Encodes a dataset once into a token cache, which transformers then train on.

`--help` tells more. The same as lpd-cache-tokens, and found in lpd_jax/commands/cache_tokens.py.
"""

from lpd_jax.commands.cache_tokens import run

if __name__ == "__main__":
    run()
