"""Trains a tokenizer or a transformer, or goes on with it where a run in the same workdir ended.

`--help` tells more. The same as lpd-train, and found in lpd_jax/commands/train.py.
"""

from lpd_jax.commands.train import run

if __name__ == "__main__":
    run()
