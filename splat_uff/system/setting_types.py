"""Ranges of settings, written as types: files and flags are checked against the same ones."""

from typing import Annotated

from msgspec import Meta

# Generous upper ends, to catch slips of the keyboard and infinities.
Count = Annotated[int, Meta(ge=1, le=100_000_000)]
"""How many; at least one."""
Natural = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Draws = Annotated[int, Meta(ge=0, le=10_000)]
"""How often something is drawn; 0 leaves it out."""
Share = Annotated[float, Meta(ge=0, le=1)]
Weight = Annotated[float, Meta(ge=0, le=1e6)]
"""Weight of a term; 0 leaves it out."""
Positive = Annotated[float, Meta(gt=0, le=1e6)]
