"""`photos`, and the page of a splat without photos."""

from pathlib import Path
from typing import Annotated

import tyro

from splat_uff.commands.arguments import Switch
from splat_uff.run.folder import name_of_splats
from splat_uff.settings import TrainConfig, check_settings
from splat_uff.system.errors import InputError
from splat_uff.system.files import require_new
from splat_uff.virtual.config import VirtualConfig


def photos(
    views: VirtualConfig = VirtualConfig(),
    *,
    gaussians: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FILE")],
    output: Annotated[Path, tyro.conf.arg(metavar="DIR")],
    size: Annotated[int, tyro.conf.arg(aliases=("--max-size",))] = 400,
    force: Switch = False,
) -> None:
    """Render virtual photos of a splat, for other tools to make masks of.

    They are those that "splat-uff train --gaussians FILE" makes by itself, as a capture with poses.
    Train on them by "splat-uff train --data DIR --gaussians FILE --masks MASKS".

    Args:
        views: Placement and number of the virtual views.
        gaussians: File of the splat: .ply, .splat, .ksplat, .spz, .sog.
        output: Folder to create: transforms.json and images.
        size: Sides of the photos, in pixels.
        force: Take the splat as it is even if its values look wrong.
    """
    check_settings(TrainConfig(size=size, views=views))
    require_new(output)
    from splat_uff.gaussians.source import read_given
    from splat_uff.run.provenance import digest_of
    from splat_uff.virtual.photos import virtual_capture

    source, digest = read_given(gaussians), digest_of(gaussians)
    how = {"size": size, "digest": digest, "force": force}
    print(virtual_capture(output, source, gaussians, views, **how))
    print(f"photos and poses in {output}")


def view_splats(path: Path, *, host: str, port: int) -> None:
    """Show the page of the run of a splat alone, which is trained first if necessary.

    Args:
        path: File of the splat.
        host: Address to serve the page on.
        port: Port to serve the page on, or the next free one after it.

    Raises:
        InputError: If the file is damaged, or the run in its place is of another splat.
    """
    from splat_uff.gaussians.source import read_source
    from splat_uff.run.folder import RunFolder
    from splat_uff.run.open import open_run
    from splat_uff.run.provenance import digest_of, read_provenance
    from splat_uff.system.observer import Observer
    from splat_uff.training.inputs import TrainOptions
    from splat_uff.training.train import train
    from splat_uff.view.app import show_run, train_on_page

    read_source(path)  # Before a page is served, so that damage is all that is said.
    name = name_of_splats(path)
    folder = Path("runs") / name
    settings = TrainConfig()
    if (run := RunFolder(folder)).config.is_file():
        began = read_provenance(run)
        if not began.gaussians_source.endswith(f" {digest_of(path)}"):
            raise InputError(
                f"{folder} holds a run of something else than {path}; train with splat-uff train "
                "--gaussians FILE --output DIR, and view DIR."
            )
        if run.finished:
            show_run(open_run(folder), host=host, port=port)
            return
        settings = began.settings

    def work(observer: Observer) -> None:
        options = TrainOptions(scene=name, device="auto", resume=True)
        train(None, folder, settings, splats=path, options=options, observer=observer)

    train_on_page(work, folder, settings, title=name, host=host, port=port)
