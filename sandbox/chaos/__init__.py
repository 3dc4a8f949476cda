"""Chaos: whole jobs under planned trouble, and bursts of many at once (`python -m sandbox chaos`, `python -m sandbox burst`)."""

from sandbox.chaos.command import add_command

__all__ = ["add_command"]
