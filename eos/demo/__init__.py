"""The main job on real input: orders, kills, and a table that says what became of them."""

from eos.demo.run import Demo, Options

__all__ = ["Demo", "Options"]
