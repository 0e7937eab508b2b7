"""Judges a model or pictures, and writes one record with all that the numbers depend on.

`--help` tells more. The same as lpd-evaluate, and found in lpd_jax/commands/evaluate.py.
"""

from lpd_jax.commands.evaluate import run

if __name__ == "__main__":
    run()
