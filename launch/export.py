"""Turns a training run into a model directory, the form in which models are used and shared.

`--help` tells more. The same as lpd-export, and found in lpd_jax/commands/export.py.
"""

from lpd_jax.commands.export import run

if __name__ == "__main__":
    run()
