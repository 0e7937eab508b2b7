"""Opens a page to paint on: draw, watch it come about, repaint, compare.

`--help` tells more. The same as lpd-page, and found in lpd_jax/commands/page.py.
"""

from lpd_jax.commands.page import run

if __name__ == "__main__":
    run()
