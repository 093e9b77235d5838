"""`bench`: timings of every stage."""

from typing import Literal

from splat_uff.commands.arguments import File


def bench(
    *,
    output: File = None,
    compare: File = None,
    only: str = "",
    device: Literal["cpu", "cuda"] = "cpu",
) -> None:
    """Time every stage on fixed synthetic inputs; takes some minutes.

    Args:
        output: JSON file to write the times to.
        compare: File of baseline times to print ratios to, for example benchmarks/baseline.json.
        only: Text that the name of a timing must contain; an empty one times everything.
        device: Device that computes; cuda times only what runs there.
    """
    from splat_uff.bench import read_times, run_bench, write_times
    from splat_uff.system.machine import choose_render_device

    baseline = None if compare is None else read_times(compare)
    times = run_bench(
        only=only,
        device=choose_render_device(device),
        compare=baseline,
        say=lambda line: print(line, flush=True),
    )
    if output is not None:
        write_times(output, times, device=device)
