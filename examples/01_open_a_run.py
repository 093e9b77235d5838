"""Open a finished run and see what is in it.

splat-uff train --scene toy
python examples/01_open_a_run.py [RUN]
"""

import sys

from splat_uff import open_run

run = open_run(sys.argv[1] if len(sys.argv) > 1 else "runs/toy")

tree = run.hierarchy.tree
print(f"scene {run.provenance.scene}, trained on {len(run.capture.train)} photos")
print(f"{len(run.gaussians):,} Gaussians, one leaf of the tree each")
print(f"{len(tree.parents):,} nodes; cuts of 1 to {tree.most_segments:,} segments")

# Gaussians are torch tensors on the CPU, trees are NumPy arrays.
extent = run.gaussians.means.amax(dim=0) - run.gaussians.means.amin(dim=0)
print(f"extent {' x '.join(f'{side:.2f}' for side in extent.tolist())} in world units")
print(f"root at height {tree.altitudes[-1]:.3f}")
