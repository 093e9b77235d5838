"""Cut the tree at several granularities, and look at the segments from a camera.

python examples/02_cut_and_label_maps.py [RUN]
"""

import sys

import numpy as np

from splat_uff import label_map, open_run

run = open_run(sys.argv[1] if len(sys.argv) > 1 else "runs/toy")

for num_segments in (2, 5, 20):
    # One label per Gaussian; labels count from 1, the largest segment first.
    labels = run.cut(num_segments)
    sizes = np.bincount(labels)[1:]
    print(f"{num_segments:3} segments: the largest have {', '.join(map(str, sizes[:5]))} Gaussians")

# Cuts are nested: every fine segment lies in one coarse segment.
coarse, fine = run.cut(5), run.cut(20)
for segment in range(1, coarse.max() + 1):
    print(f"segment {segment} of 5 splits into {len(np.unique(fine[coarse == segment]))} of 20")

# Any camera will do; letters are twice as high as wide. 0, here a dot, is no segment.
camera = run.capture.train[0].camera.resized(64, 32)
seen = label_map(run.gaussians, camera, coarse)
print("\n".join("".join(".ABCDE"[label] for label in row) for row in seen))
