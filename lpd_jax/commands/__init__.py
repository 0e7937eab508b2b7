"""The commands: `launch/NAME.py` and, once installed, `lpd-NAME` are `lpd_jax.commands.NAME`.

Each module defines its options as it is imported, so a process imports one of them. `main` does the
work, `run` is what a shell starts.
"""
