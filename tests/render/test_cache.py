"""A kernel just compiled and the same one from the cache give the same bits."""

import os
import subprocess
import sys

import pytest

SCRIPT = """
import hashlib, torch
from splat_uff.bench import random_inputs
from splat_uff.render import rasterization
tensors = random_inputs(48, 3, count=2000, degree=1)
tensors["scales"] = tensors["scales"][:, :1].expand(-1, 3).clone()  # Round: only rounding turns it.
leaves = {name: tensor.requires_grad_(name != "Ks") for name, tensor in tensors.items()}
image, alphas, _ = rasterization(**leaves, width=48, height=48, sh_degree=1)
(image.square().sum() + alphas.sum()).backward()
digest = hashlib.sha256(image.detach().numpy().tobytes())
for leaf in leaves.values():
    if leaf.grad is not None:
        digest.update(leaf.grad.numpy().tobytes())
print(digest.hexdigest())
"""


@pytest.mark.slow
def test_kernels_give_the_same_bits_just_compiled_and_from_the_cache(tmp_path):
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-c", SCRIPT]
    runs = [
        subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout
        for _ in range(2)
    ]
    assert list(tmp_path.rglob("*.nbc")), "the kernels were kept"
    assert runs[0] == runs[1]
