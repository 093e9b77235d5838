"""Lets the documentation site show the examples of docstrings as code.

A Google docstring has the section `Examples`; tyro and our docstrings say `Example`. mkdocs.yml
names this file as an extension of griffe, which reads the docstrings.
"""

import re

import griffe


class Examples(griffe.Extension):
    """Reads `Example:` as `Examples:`."""

    def on_object(self, *, obj: griffe.Object, **_: object) -> None:
        """Change the docstring of whatever has one."""
        if obj.docstring is not None:
            obj.docstring.value = re.sub(
                r"^Example:$", "Examples:", obj.docstring.value, flags=re.MULTILINE
            )
