"""Ranges of settings as types, against which both files and flags are checked."""

from typing import Annotated

from msgspec import Meta

# The upper bounds are generous: they catch typing errors and infinities.
Count = Annotated[int, Meta(ge=1, le=100_000_000)]
"""Number of things, at least 1."""
Natural = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Draws = Annotated[int, Meta(ge=0, le=10_000)]
"""Number of random draws; 0 skips them."""
Share = Annotated[float, Meta(ge=0, le=1)]
Weight = Annotated[float, Meta(ge=0, le=1e6)]
"""Weight of a term; 0 leaves it out."""
Positive = Annotated[float, Meta(gt=0, le=1e6)]
