"""Render on the CPU as with gsplat, and ask by a gradient what a pixel is made of.

python examples/06_rasterization_and_gradients.py [RUN]
"""

import sys

import numpy as np
import torch

from splat_uff import open_run, rasterization

run = open_run(sys.argv[1] if len(sys.argv) > 1 else "runs/toy")
gaussians, camera = run.gaussians, run.capture.train[0].camera
opacities = gaussians.opacities.requires_grad_()

image, alphas, meta = rasterization(
    gaussians.means,
    gaussians.quats,
    gaussians.scales,
    opacities,
    torch.cat([gaussians.sh0, gaussians.shN], dim=1),
    torch.as_tensor(camera.cam_from_world)[None],
    torch.as_tensor(camera.K)[None],
    camera.width,
    camera.height,
    sh_degree=gaussians.sh_degree,
)
print(f"{image.shape[2]} x {image.shape[1]} pixels, {(alphas > 0.5).float().mean():.0%} covered")

# The pixel nearest to the middle of what is covered.
ys, xs = np.nonzero(alphas[0, ..., 0].detach().numpy() > 0.5)
nearest = np.argmin((ys - ys.mean()) ** 2 + (xs - xs.mean()) ** 2)
y, x = int(ys[nearest]), int(xs[nearest])
(gradient,) = torch.autograd.grad(image[0, y, x].sum(), opacities)

# Which Gaussians would change it, and which segments are they in?
pull = gradient.abs().numpy()
labels = run.cut(5)
print(f"pixel {x}, {y} depends on {np.count_nonzero(pull)} of {len(gaussians):,} Gaussians")
for segment in np.unique(labels[pull > 0]):
    print(f"segment {segment}: {pull[labels == segment].sum() / pull.sum():4.0%} of the gradient")
print(f"seen there: segment {run.label_map(camera, 5)[y, x]}")
