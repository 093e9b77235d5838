"""Train on the built-in scene `toy`, with settings of your own.

    python examples/03_train_from_python.py [OUTPUT]

Takes a minute on two cores, and some more when the kernels are compiled for the first time.
"""

import sys
from pathlib import Path

from splat_uff import FeaturesConfig, GaussiansConfig, TrainConfig, TrainOptions, find_scene, train

output = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/toy-from-python")

# Photos of the toy scene have 64 pixels, so everything may be smaller than the defaults. A folder
# of your own takes the place of `find_scene("toy").folder`.
settings = TrainConfig(
    size=64,
    gaussians=GaussiansConfig(steps=600, start=1500, most=3000, refine_start=100, refine_every=50),
    features=FeaturesConfig(steps=300, pixels=512),
)
again = TrainOptions(
    resume=True
)  # Cut off, the same script goes on; finished, it reads the scores.
metrics = train(find_scene("toy").folder, output, settings, options=again)

print(f"PSNR {metrics['psnr']:.1f} dB on held-out photos")
print(f"NC {metrics['nc']['mean']:.3f}, normalized covering of the true segments; 1 is perfect")
print(f"{metrics['seconds']['total']:.0f} s; the report is {output / 'report.html'}")
