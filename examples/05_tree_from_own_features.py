"""Build a tree from features of your own: here, of where the Gaussians are, and their colours.

    python examples/05_tree_from_own_features.py [RUN]

Any array with a row per Gaussian will do, for example CLIP or DINO features lifted from 2D.
"""

import sys

import numpy as np

from splat_uff import HierarchyConfig, build_hierarchy, cut, label_map, open_run

run = open_run(sys.argv[1] if len(sys.argv) > 1 else "runs/toy")
means = run.gaussians.means.numpy()
colours = run.gaussians.sh0.numpy()[:, 0]

# Only the direction of a feature counts, so each kind is brought to zero mean and equal spread.
features = np.concatenate(
    [(kind - kind.mean(axis=0)) / kind.std() for kind in (means, colours)], axis=1
)
everyone = np.ones(len(means), np.float32)  # As if each Gaussian filled a pixel of some photo.
hierarchy = build_hierarchy(means, features, everyone, HierarchyConfig(linkage="average"))

# How much of each learned segment lies in one segment of the new tree?
own, learned = cut(hierarchy.tree, 8), run.cut(8)
for segment in range(1, learned.max() + 1):
    inside = np.bincount(own[learned == segment])
    print(f"learned segment {segment}: {inside.max() / inside.sum():4.0%} in one of ours")

seen = label_map(run.gaussians, run.capture.train[0].camera, own)
print(f"{len(np.unique(seen[seen > 0]))} of {own.max()} segments are seen in the first photo")
