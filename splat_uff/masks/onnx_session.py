"""Sessions of onnxruntime for files from elsewhere: quiet, deterministic, errors as one line."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Num

from splat_uff.system.errors import InputError, argument, reason_of


def open_session(path: Path, *, device: str) -> Any:
    """Load an ONNX file for the threads of torch.

    Args:
        path: File whose weights are known to be in its folder.
        device: Device to compute on: `cpu` or `cuda`.

    Raises:
        InputError: If onnxruntime is not installed or lacks the device, or cannot load the file.
    """
    onnxruntime = require_onnxruntime(device)
    import torch

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.inter_op_num_threads = 1
    options.use_deterministic_compute = True
    options.log_severity_level = 4  # Errors come as exceptions too.
    options.add_session_config_entry("session.load_model_format", "ONNX")
    providers: list[Any] = ["CPUExecutionProvider"]
    if device.startswith("cuda"):
        number = int(device.partition(":")[2] or 0)
        providers.insert(0, ("CUDAExecutionProvider", {"device_id": number}))
    try:
        session = onnxruntime.InferenceSession(
            path, options, providers=providers, enable_fallback=0
        )  # Its fallback prints, and tries the same again.
    except Exception as error:  # onnxruntime has a class for each of its errors.
        raise InputError(
            f"onnxruntime cannot load {path} ({_reason(error)}); export it again."
        ) from None
    if len(providers) > 1 and "CUDAExecutionProvider" not in session.get_providers():
        raise InputError(
            f"onnxruntime cannot use CUDA here; install the CUDA and cuDNN that it asks for, or "
            f"pass {argument('device', 'cpu')}."
        )
    return session


def require_onnxruntime(device: str = "cpu") -> Any:
    """The package onnxruntime, which an extra installs.

    Raises:
        InputError: If it is not installed, or lacks the device.
    """
    try:
        import onnxruntime  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise InputError(
            'models as ONNX files need onnxruntime; pip install "splat-uff[onnx]".'
        ) from None
    cuda = device.startswith("cuda")
    if cuda and "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        raise InputError(
            f"this onnxruntime computes on the CPU only; pip install onnxruntime-gpu, or pass "
            f"{argument('device', 'cpu')}."
        )
    return onnxruntime


def run_session(
    session: Any, wanted: Sequence[str], given: Mapping[str, Num[np.ndarray, "..."]], path: Path
) -> list[Num[np.ndarray, "..."]]:
    """Compute outputs of a session.

    Args:
        session: Session of onnxruntime.
        wanted: Names of the outputs.
        given: Values of the inputs.
        path: File of the session, for messages.

    Raises:
        InputError: If it fails, whatever the reason; a graph from elsewhere has many.
    """
    try:
        made = session.run(list(wanted), dict(given))
    except Exception as error:  # onnxruntime has a class for each of its errors.
        raise InputError(
            f"{path} fails ({_reason(error)}); export the model again, or free memory."
        ) from None
    for name, value in zip(wanted, made, strict=True):
        if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiu":
            raise InputError(f"{name} of {path} is no array of numbers; export the model again.")
    return made


def _reason(error: Exception) -> str:
    """Message of onnxruntime without the number of the error, and without the path again."""
    text = re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", str(error))
    return reason_of(Exception(re.sub(r"^Load model from .*? failed: ?", "", text)))
