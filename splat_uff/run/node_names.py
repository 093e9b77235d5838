"""Names that people give to nodes of a tree, stored beside it."""

import json
from collections.abc import Mapping

from splat_uff.run.folder import RunFolder
from splat_uff.system.errors import InputError
from splat_uff.system.files import write_json

LONGEST = 60
MOST_BYTES = 1 << 24


def tidy_name(text: str) -> str:
    """Clean up a typed name: one line, no control characters, at most `LONGEST` characters."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:LONGEST]


def read_names(run: RunFolder) -> dict[int, str]:
    """Read names by node; empty if there are none.

    Raises:
        InputError: If the file is damaged.
    """
    if not run.names.is_file():
        return {}
    try:
        if run.names.stat().st_size > MOST_BYTES:
            raise ValueError("too large")
        record = json.loads(run.names.read_text(encoding="utf-8-sig"))
        names = {int(node): name for node, name in record["names"].items()}
        if not all(isinstance(name, str) for name in names.values()):
            raise ValueError("a name that is no text")
        return {node: tidy_name(name) for node, name in names.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise InputError(
            f'{run.names} is damaged; expected {{"names": {{"123": "wheel"}}}}. Mend or delete it.'
        ) from None


def write_names(run: RunFolder, names: Mapping[int, str]) -> None:
    """Write names by node."""
    ordered = {str(node): names[node] for node in sorted(names)}
    write_json(run.names, {"names": ordered})
