"""The one seam for devices: everything that looks through a camera calls `rasterize`."""
