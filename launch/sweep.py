"""Judges many ways to draw with a model, and writes a table, plots and, if asked, the best one.

`--help` tells more. The same as lpd-sweep, and found in lpd_jax/commands/sweep.py.
"""

from lpd_jax.commands.sweep import run

if __name__ == "__main__":
    run()
