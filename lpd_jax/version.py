"""The version of the package, said here and nowhere else; `setup.py` reads this line."""

__version__ = "0.1.0"
