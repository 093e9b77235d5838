"""Take a splat apart of which there are no photos: cameras are chosen for it and photos rendered.

    python examples/08_splat_without_photos.py [FILE.ply] [OUTPUT]

The default is the splat of `runs/toy`; make it by `splat-uff train --scene toy`. Takes a minute.
"""

import sys
from pathlib import Path

from splat_uff import TrainConfig, TrainOptions, VirtualConfig, open_run, train

splat = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/toy/gaussians.ply")
output = Path(sys.argv[2] if len(sys.argv) > 2 else "runs/toy-alone")

# Up is found from the splat; say it if it is found wrong. Masks are classical unless you pass a
# folder of better ones as `masks`, made of the photos in `output / "capture"`.
settings = TrainConfig(size=100, views=VirtualConfig(fewest=24, most=40, up="z"))
train(None, output, settings, splats=splat, options=TrainOptions(resume=True))

run = open_run(output)
print(run.metrics["virtual_views"])
parts = run.cut(8)
for number in range(1, parts.max() + 1):
    print(f"part {number}: {(parts == number).sum():,} Gaussians")
print(f"what the cameras saw is in {output / 'report.html'}")
