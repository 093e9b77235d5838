"""Pictures of a run that its report shows."""

import numpy as np
import pytest
from PIL import Image

from splat_uff.report.write import _picture


@pytest.mark.parametrize("size", [0, 20, 60, 200])
def test_a_damaged_picture_is_left_out_with_a_notice(size, tmp_path, capsys):
    path = tmp_path / "borders.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 30, 3), np.uint8)).save(path)
    whole = _picture(path)
    assert whole is not None
    assert whole.shape == (40, 30, 3)
    path.write_bytes(path.read_bytes()[:size])
    assert _picture(path) is None
    assert "borders.png is damaged" in " ".join(capsys.readouterr().err.split())
    path.unlink()
    assert _picture(path) is None
