"""Repaints part of pictures, or paints on beyond their edges, and writes them as PNG.

`--help` tells more. The same as lpd-edit, and found in lpd_jax/commands/edit.py.
"""

from lpd_jax.commands.edit import run

if __name__ == "__main__":
    run()
