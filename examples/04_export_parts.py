"""Take the parts of a scene away as standard 3DGS files, for other viewers and editors.

python examples/04_export_parts.py [RUN [OUTPUT]]
"""

import json
import sys
from pathlib import Path

from splat_uff import Export, export_run, open_run

run = open_run(sys.argv[1] if len(sys.argv) > 1 else "runs/toy")
output = Path(sys.argv[2] if len(sys.argv) > 2 else "toy-parts")  # A new folder.

files = export_run(run, output, Export(segments=6, levels=(6,), only=("parts", "cloud")))
for file in files:
    print(f"{file.relative_to(output).as_posix():20} {file.stat().st_size / 1e3:8.1f} kB")

# hierarchy.json says which node of the tree each file is.
for part in json.loads((output / "hierarchy.json").read_text(encoding="utf-8"))["parts"]:
    print(f"{part['file']} is node {part['node']}, {part['size']} Gaussians")
