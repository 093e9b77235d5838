"""The one question by which every operation with two sides picks its own: numba or torch.

On the CPU, numba's kernels compute. On any other device, the same operation is written with torch's
operations, which run anywhere; tests call them on the CPU and compare both sides.
"""


def numba_computes(device: object) -> bool:
    """Whether numba's kernels compute on a device; otherwise torch's operations do.

    Args:
        device: A `torch.device`, or its name, for example `cuda:0`.
    """
    return str(device).partition(":")[0] == "cpu"
