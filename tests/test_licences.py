"""Licences of all direct dependencies are on the page, and suit a package under Apache-2.0."""

import re
from pathlib import Path

import pytest

from tests.test_readme import ROOT, load_tool

tool = load_tool(ROOT / "tools" / "list_licences.py")
COPYLEFT = re.compile(r"(?<!L)GPL|GNU (Affero )?General Public", re.IGNORECASE)
NOT_OF_THE_PACKAGE = {"bpy"}
"""For a script in tools/ that is not part of the package."""


@pytest.mark.parametrize("name", tool.direct_dependencies())
def test_no_licence_forbids_apache_2(name):
    licence = tool.licence_of(name)
    if licence is None:
        pytest.skip(f"{name} is not installed")
    assert licence, f"say in docs/licences.md under which licence {name} is"
    assert name in NOT_OF_THE_PACKAGE or not COPYLEFT.search(licence)


FAMILIES = ("Apache", "MIT", "BSD", "PSF|Python Software", "MPL", "ISC", "CeCILL-B", "TOST", "GPL")


def families(licence):
    """Kinds of licences that a text names; versions of a package spell the same one differently."""
    return {each for each in FAMILIES if re.search(each, licence)}


def test_the_page_has_what_the_packages_state():
    page = (ROOT / "docs" / "licences.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| ([\w.-]+) \| (.*?) \|", page, re.MULTILINE))
    assert rows.keys() - {"package"} == tool.direct_dependencies().keys()
    for name in tool.direct_dependencies():
        licence = tool.licence_of(name)
        assert families(rows[name])
        assert licence is None or families(licence) & families(rows[name]), f"{name}: {licence}"


def test_packages_of_tools_are_not_imported_by_the_package():
    for path in Path(ROOT / "splat_uff").rglob("*.py"):
        assert not re.search(
            r"^\s*(import|from) (bpy|plyfile|open3d)\b", path.read_text("utf-8"), re.MULTILINE
        )
