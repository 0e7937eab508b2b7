"""Turns released PyTorch weights into a model directory; needs no PyTorch, runs no code of theirs.

`--help` tells more. The same as lpd-convert, and found in lpd_jax/commands/convert.py.
"""

from lpd_jax.commands.convert import run

if __name__ == "__main__":
    run()
