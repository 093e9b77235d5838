"""A file of splats kept as it is, whatever its format."""

import shutil
import zipfile
from pathlib import Path

from splat_uff.formats.detect import ENDINGS, detect, files_of
from splat_uff.system.files import replacing


def keep_file(path: Path, stem: Path) -> Path:
    """Copy a file of splats without a change; an unpacked SOG becomes a `.sog` of the same files.

    Args:
        path: File, or the folder or `meta.json` of an unpacked SOG.
        stem: Path to copy to, without the ending, which is that of the format.

    Returns:
        Path of the copy.

    Raises:
        InputError: If the file is missing, or of no format of splats.
    """
    target = stem.with_name(stem.name + ENDINGS[detect(path)])
    parts = files_of(path)
    with replacing(target) as temporary:
        if parts == [path]:
            shutil.copyfile(path, temporary)
            return target
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
            for part in parts:
                # Without the time of the file, so that the same splats give the same bytes.
                archive.writestr(zipfile.ZipInfo(part.name), part.read_bytes())
    return target
