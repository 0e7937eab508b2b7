"""Draws pictures and writes them as one labelled grid.

`--help` tells more. The same as lpd-generate, and found in lpd_jax/commands/generate.py.
"""

from lpd_jax.commands.generate import run

if __name__ == "__main__":
    run()
