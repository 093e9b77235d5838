"""Write the table of licences in docs/licences.md from what the installed packages state.

    python tools/list_licences.py

A package that is not installed here keeps its row.
"""

import re
import sys
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "licences.md"
START, END = "<!-- licences -->", "<!-- /licences -->"
LONGEST = 60
"""Most characters of a licence's name; longer fields hold the text of the licence."""


def direct_dependencies() -> dict[str, str]:
    """Names of packages in pyproject.toml, and the extra that each is in, if any."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    groups = {"": project["dependencies"], **project["optional-dependencies"]}
    found: dict[str, str] = {}
    for extra, requirements in groups.items():
        for requirement in requirements:
            name = re.match(r"[\w.-]+", requirement)
            assert name is not None
            if name[0] != project["name"]:
                found.setdefault(name[0], extra)
    return found


def licence_of(name: str) -> str | None:
    """Licence that a package states: its expression, its field, its classifiers, or its file.

    Returns:
        None if the package is not installed; an empty text if it states none.
    """
    try:
        package = distribution(name)
    except PackageNotFoundError:
        return None
    stated = package.metadata
    expression = stated.get("License-Expression") or ""
    field = " ".join((stated.get("License") or "").split())
    classifiers = [
        line.split("::")[-1].strip()
        for line in stated.get_all("Classifier") or []
        if line.startswith("License")
    ]
    short = field if len(field) <= LONGEST else ""
    return expression or short or ", ".join(classifiers) or _title_of_file(package)


def table() -> str:
    """Rows for the page; those of packages that are not installed are taken from the page."""
    kept = {
        row.split("|")[1].strip(): row for row in PAGE.read_text("utf-8").splitlines() if "|" in row
    }
    rows = ["| package | licence | needed for |", "|---|---|---|"]
    for name, extra in sorted(direct_dependencies().items(), key=lambda item: item[0].lower()):
        licence = licence_of(name)
        purpose = f"the extra `{extra}`" if extra else "everything"
        row = f"| {name} | {licence} | {purpose} |"
        rows.append(kept.get(name, f"| {name} | | {purpose} |") if licence is None else row)
    return "\n".join(rows)


def fill(text: str) -> str:
    """The page with today's table."""
    before, _, rest = text.partition(START)
    return f"{before}{START}\n{table()}\n{END}{rest.partition(END)[2]}"


def _title_of_file(package: Distribution) -> str:
    """Title of a licence's file: its first two lines with words, or the name of a BSD licence."""
    for path in package.files or []:
        if path.name.upper().startswith(("LICENSE", "LICENCE", "COPYING")):
            text = path.read_text("utf-8")
            if "Redistribution and use in source and binary forms" in text:
                return "BSD-3-Clause" if "endorse or promote" in text else "BSD-2-Clause"
            lines = (line.strip() for line in text.splitlines())
            return ", ".join(line for line in list(filter(None, lines))[:2])
    return ""


if __name__ == "__main__":
    PAGE.write_text(fill(PAGE.read_text("utf-8")), "utf-8")
