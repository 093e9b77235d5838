"""A real browser with software WebGL; without one, these tests are skipped and say why."""

import os
import shutil

import pytest

FLAGS = (
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--ignore-gpu-blocklist",
    "--no-sandbox",
)


@pytest.fixture(scope="session")
def chromium():
    """Chromium, started once."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
    path = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("no Chromium; apt install chromium, or say where it is with CHROMIUM=PATH")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture
def tab(chromium):
    """A new tab with nothing in it."""
    context = chromium.new_context(viewport={"width": 1200, "height": 720})
    yield context.new_page()
    context.close()
