"""How fast a model is, how fast its device could be, and what a program needs on a slice.

The launch scripts `benchmark.py` and `compile_report.py` run it. Nothing else needs this room.
"""
