"""What every room may use and no method decides: meshes, processes, command lines, config fields.

Of all of it, a program needs the error that a wrong value raises.
"""

from lpd_jax.runtime.errors import UserError

__all__ = ["UserError"]
