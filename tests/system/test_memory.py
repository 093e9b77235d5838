"""A budget of memory: what is beyond it comes back from disk as it was."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from splat_uff.system.memory import Memory

ARRAYS = [
    np.arange(7, dtype=np.int32),
    np.random.default_rng(0).random((3, 5, 2)).astype(np.float32),
    np.zeros((0, 4), bool),
    np.arange(12).reshape(3, 4).T,  # Not contiguous.
]


@pytest.mark.parametrize("pack", [False, True])
@pytest.mark.parametrize("most", [0, 30, float("inf")])
def test_arrays_come_back_as_they_were(tmp_path, most, pack):
    memory = Memory(most, tmp_path)
    kept = [memory.keep(array, pack=pack) for array in ARRAYS]
    for array, entry in reversed(list(zip(ARRAYS, kept, strict=True))):
        found = entry.load()
        assert found.dtype == array.dtype
        assert (found == array).all()
        assert found.shape == array.shape
        found.setflags(write=True)  # Torch takes no other.
    assert memory.held <= most
    assert list(tmp_path.iterdir()) == []


def test_memory_is_held_until_it_is_full():
    memory = Memory(100)
    held = [memory.keep(np.zeros(40, np.uint8)).array is not None for _ in range(3)]
    assert held == [True, True, False]
    assert memory.keep(np.zeros(20, np.uint8)).array is not None
    assert (memory.held, memory.on_disk) == (100, 40)


def test_reserve_leaves_the_rest_of_the_budget_to_others():
    memory = Memory(100)
    assert [memory.reserve(size) for size in (30, 30, 20)] == [True, False, True]
    assert memory.held == 50
    assert memory.keep(np.zeros(50, np.uint8)).array is not None


def test_packing_pays():
    memory = Memory(0)
    memory.keep(np.zeros(10_000, np.uint8), pack=True)
    assert memory.on_disk < 100


def test_the_file_goes_to_the_nearest_folder_that_exists(tmp_path, monkeypatch):
    places = []
    real = __import__("tempfile").TemporaryFile
    monkeypatch.setattr(
        "splat_uff.system.memory.tempfile.TemporaryFile",
        lambda dir: places.append(dir) or real(dir=dir),
    )
    Memory(0, tmp_path / "runs" / "drums").keep(np.zeros(3))
    assert places == [tmp_path]


def test_threads_share_a_memory():
    memory = Memory(0)
    arrays = [np.full(100 + index, index) for index in range(200)]
    with ThreadPoolExecutor(4) as pool:
        kept = list(pool.map(memory.keep, arrays))
        found = list(pool.map(lambda entry: entry.load(), kept))
    assert all((one == other).all() for one, other in zip(arrays, found, strict=True))
