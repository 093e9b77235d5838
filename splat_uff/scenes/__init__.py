"""Built-in scenes: modelled in code, ray-traced on the CPU, with exact ground truth."""
