"""`bench`: times of every stage."""

from splat_uff.commands.arguments import File


def bench(
    *,
    output: File = None,
    compare: File = None,
    only: str = "",
) -> None:
    """Time every stage on fixed synthetic inputs; takes some two minutes.

    Args:
        output: Write the times to this file, as JSON.
        compare: Print ratios to the times in this file, for example benchmarks/baseline.json.
        only: Time only what has this text in its name.
    """
    from splat_uff.bench import read_times, run_bench, write_times

    baseline = None if compare is None else read_times(compare)
    times = run_bench(only=only, compare=baseline, say=lambda line: print(line, flush=True))
    if output is not None:
        write_times(output, times)
