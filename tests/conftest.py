"""What several tests share: a cache folder of their own, and the toy scene made in it once."""

from pathlib import Path

import pytest
from hypothesis import settings

from splat_uff.cli import main
from splat_uff.scenes.builtin import DATA_VARIABLE, find_scene

settings.register_profile("any machine", deadline=None)  # No test asks how busy a machine is.
settings.load_profile("any machine")


def pytest_make_parametrize_id(val: object) -> str | None:
    """Name bytes by their number: gzip notes the time, and workers must agree on the names."""
    return f"{len(val)} bytes" if isinstance(val, bytes) else None


@pytest.fixture(scope="session")
def own_cache(tmp_path_factory):
    """Keep the user's cache out of the tests, also out of the processes that they start."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        patch.delenv(DATA_VARIABLE, raising=False)
        yield


@pytest.fixture(scope="session")
def toy(own_cache) -> Path:
    """Folder of the built-in scene `toy`; tests only read it."""
    return find_scene("toy").folder


@pytest.fixture(scope="session")
def trained(toy, tmp_path_factory) -> Path:
    """Folder of a finished run on `toy` of few steps; tests only read it."""
    output = tmp_path_factory.mktemp("trained") / "toy"
    few = ("--gaussians.steps", "300", "--features.steps", "60", "--features.pixels", "256")
    main(["train", "--scene", "toy", "--output", str(output), *few])
    return output
