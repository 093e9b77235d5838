"""The examples of the docs run and do what the text says of them."""

import re
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"


def test_the_rasterizers_example_fits_its_image(capsys):
    text = (DOCS / "rasterizer.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    exec(compile(example, "docs/rasterizer.md", "exec"), {})
    psnr = float(re.findall(r"PSNR ([\d.]+) dB", capsys.readouterr().out)[0])
    assert psnr > 30
