"""Fill the tables of README.md and other pages from measured files; none is typed by hand.

    python tools/update_readme.py                                 # from benchmarks/*.json
    python tools/update_readme.py --record runs/drums runs/radar   # scores of these runs first

Between `<!-- NAME -->` and `<!-- /NAME -->` everything is replaced.
"""

import argparse
import ast
import json
import re
import statistics
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
RESULTS = ROOT / "benchmarks" / "results.json"
HEADLINE = ROOT / "benchmarks" / "headline.json"
ABLATION = ROOT / "benchmarks" / "ablation.json"
DENSITY = ROOT / "benchmarks" / "density.json"
SPLAT_ALONE = ROOT / "benchmarks" / "splat_alone.json"
SPLAT_FORMATS = ROOT / "benchmarks" / "splat_formats.json"
CLASSICAL_MASKS = ROOT / "benchmarks" / "classical_masks.json"
FEATURES = ROOT / "benchmarks" / "features.json"
SUPPORT = ROOT / "benchmarks" / "support.json"
CONSENSUS_SCALE = ROOT / "benchmarks" / "consensus_scale.json"
TREE_CHOICES = ROOT / "benchmarks" / "tree_choices.json"
REAL = ROOT / "benchmarks" / "real.json"
SCALE = ROOT / "benchmarks" / "scale.json"
VIEWER = ROOT / "benchmarks" / "viewer.json"
PROMPTS = ROOT / "benchmarks" / "prompts.json"
SEGMENTERS = ROOT / "benchmarks" / "segmenters.json"
BORDERS = ROOT / "benchmarks" / "borders.json"
BORDERS_4000 = ROOT / "benchmarks" / "borders_4000_steps.json"
FIT = ROOT / "benchmarks" / "fit.json"
GROWTH = ROOT / "benchmarks" / "growth.json"
BATCH = ROOT / "benchmarks" / "batch.json"
BLOCKS = ROOT / "benchmarks" / "blocks.json"
WINDOWS = ROOT / "benchmarks" / "windows.json"
COMPILING = ROOT / "benchmarks" / "compiling.json"
SPEED = ROOT / "benchmarks" / "speed.json"
PARTS = ROOT / "benchmarks" / "parts.json"
BASELINES = ROOT / "benchmarks" / "baselines.json"
RASTERIZER = ROOT / "benchmarks" / "rasterizer.json"
PAGES = (
    README,
    ROOT / "docs" / "research" / "choices.md",
    ROOT / "docs" / "cluster.md",
    ROOT / "docs" / "input.md",
    ROOT / "docs" / "metrics.md",
    ROOT / "docs" / "research" / "results.md",
    ROOT / "docs" / "research" / "tree.md",
    ROOT / "docs" / "viewer.md",
    ROOT / "docs" / "splats.md",
    ROOT / "docs" / "formats.md",
    ROOT / "docs" / "research" / "features.md",
    ROOT / "docs" / "research" / "classical-masks.md",
    ROOT / "docs" / "research" / "prompts.md",
    ROOT / "docs" / "research" / "segmenters.md",
    ROOT / "docs" / "research" / "borders.md",
    ROOT / "docs" / "research" / "fit.md",
    ROOT / "docs" / "research" / "growth.md",
    ROOT / "benchmarks" / "RASTERIZER.md",
)
LEVELS = ("objects", "collections", "scene", "mean")
NONE = "–"  # noqa: RUF001


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--record", type=Path, nargs="+", default=[], help="runs with a paper/")
    parser.add_argument(
        "--record-real", type=Path, nargs="+", default=[], help="runs without truth"
    )
    options = parser.parse_args()
    if options.record:
        record(options.record)
    if options.record_real:
        record_real(options.record_real)
    for page in PAGES:
        page.write_text(fill(page.read_text(encoding="utf-8"), parts()), encoding="utf-8")


def parts() -> dict[str, str]:
    """Every part that a page can hold, by name."""
    results = json.loads(RESULTS.read_text(encoding="utf-8-sig"))
    ablation = json.loads(ABLATION.read_text(encoding="utf-8-sig"))
    rows = ablation["rows"]
    by_loss = [row for row in rows if "(default)" in row["reading"]]
    by_features = [row for row in rows if row["reading"] == "features, blended"]
    readings = [row for row in rows if "(default)" in row["losses"]]
    papers = [row for row in rows if "paper" in row["losses"] and "paper" in row["reading"]]
    headline = json.loads(HEADLINE.read_text(encoding="utf-8-sig"))
    return {
        "headline": headline_table(headline),
        "headline-short": headline_summary(headline),
        "sizes": sizes_table(headline),
        "methods": methods_table(results),
        "scale": scale_table(json.loads(SCALE.read_text(encoding="utf-8-sig"))),
        "real": real_table(json.loads(REAL.read_text(encoding="utf-8-sig"))),
        "losses": ablation_table(by_loss, "losses", timed=True),
        "losses-by-features": ablation_table(by_features, "losses"),
        "readings": ablation_table(readings, "reading"),
        "paper": ablation_table(papers, "reading"),
        "measured": measured(ablation),
        "viewer": viewer_text(json.loads(VIEWER.read_text(encoding="utf-8-sig"))),
        "modules": module_tree(),
        "support": support_table(json.loads(SUPPORT.read_text(encoding="utf-8-sig"))),
        "classical-masks": classical_masks_table(
            json.loads(CLASSICAL_MASKS.read_text(encoding="utf-8-sig"))
        ),
        "features": features_table(json.loads(FEATURES.read_text(encoding="utf-8-sig"))),
        "consensus-scale": consensus_scale_table(
            json.loads(CONSENSUS_SCALE.read_text(encoding="utf-8-sig"))
        ),
        "tree-choices": tree_choices_table(
            json.loads(TREE_CHOICES.read_text(encoding="utf-8-sig"))
        ),
        "splat-alone": splat_alone_table(json.loads(SPLAT_ALONE.read_text(encoding="utf-8-sig"))),
        "splat-alone-times": splat_alone_times(
            json.loads(SPLAT_ALONE.read_text(encoding="utf-8-sig"))
        ),
        "splat-formats": splat_formats_table(
            json.loads(SPLAT_FORMATS.read_text(encoding="utf-8-sig"))
        ),
        "prompts": prompts_table(json.loads(PROMPTS.read_text(encoding="utf-8-sig"))),
        "segmenters": segmenters_table(json.loads(SEGMENTERS.read_text(encoding="utf-8-sig"))),
        "growth": growth_table(json.loads(GROWTH.read_text(encoding="utf-8-sig"))),
        "blocks": blocks_table(json.loads(BLOCKS.read_text(encoding="utf-8-sig"))),
        "windows": windows_table(json.loads(WINDOWS.read_text(encoding="utf-8-sig"))),
        "compiling": compiling_table(json.loads(COMPILING.read_text(encoding="utf-8-sig"))),
        "borders": borders_table(json.loads(BORDERS.read_text(encoding="utf-8-sig"))),
        "borders-rise": borders_rise(json.loads(BORDERS.read_text(encoding="utf-8-sig"))),
        "batch": batch_table(json.loads(BATCH.read_text(encoding="utf-8-sig"))),
        "borders-4000": borders_table(json.loads(BORDERS_4000.read_text(encoding="utf-8-sig"))),
        "fit": fit_table(json.loads(FIT.read_text(encoding="utf-8-sig"))),
        "speed": speed_table(json.loads(SPEED.read_text(encoding="utf-8-sig"))),
        "parts": parts_table(json.loads(PARTS.read_text(encoding="utf-8-sig"))),
        "density": density_table(json.loads(DENSITY.read_text(encoding="utf-8-sig"))),
        **baseline_tables(json.loads(BASELINES.read_text(encoding="utf-8-sig"))),
        **rasterizer_tables(json.loads(RASTERIZER.read_text(encoding="utf-8-sig"))),
    }


def fill(page: str, texts: dict[str, str]) -> str:
    """The page with every marked part made anew."""
    for name, text in texts.items():
        page = re.sub(
            rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)",
            lambda found, text=text: found[1] + text + "\n" + found[2],
            page,
            flags=re.DOTALL,
        )
    return page


def record(runs: list[Path]) -> None:
    """Put what `splat-uff paper` found on these runs into benchmarks/results.json."""
    from splat_uff.system.machine import commit

    known = json.loads(RESULTS.read_text(encoding="utf-8-sig")) if RESULTS.exists() else {}
    for run in runs:
        found = json.loads((run / "paper" / "paper.json").read_text(encoding="utf-8-sig"))
        names = ("nc", "nc_fixed", "ratios", "psnr", "ssim", "seconds")
        metrics = {name: found["metrics"][name] for name in names if name in found["metrics"]}
        known[found["scene"]] = {
            "date": found["date"],
            "machine": found["machine"],
            "commit": commit(),
            "metrics": metrics | {"num_gaussians": found["num_gaussians"]},
            "methods": {
                name: {
                    "nc": scores["nc"]["mean"],
                    "nc_fixed": (scores.get("nc_fixed") or {}).get("mean"),
                    "vc": (scores.get("vc") or {}).get("10", {}).get("published", {}).get("mean"),
                    "seconds": scores.get("seconds"),
                }
                for name, scores in found["methods"].items()
            },
        }
    RESULTS.write_text(json.dumps(known, indent=2) + "\n", encoding="utf-8")


def record_real(runs: list[Path]) -> None:
    """Put the scores of runs on captures without ground truth into benchmarks/real.json."""
    from splat_uff.system.machine import commit, describe_machine

    rows = []
    for run in runs:
        path = run / "metrics.json"
        metrics = json.loads(path.read_text(encoding="utf-8-sig"))
        written = time.strftime("%Y-%m-%d", time.gmtime(path.stat().st_mtime))
        names = ("scene", "masks", "psnr", "ssim", "explained", "num_gaussians", "num_segments")
        names += ("peak_memory_gb", "seconds")
        paper = run.with_name(f"{run.name}-paper") / "metrics.json"
        theirs = json.loads(paper.read_text(encoding="utf-8-sig"))["explained"]
        found = {name: metrics[name] for name in names}
        rows.append({"date": written, **found, "explained_paper": theirs})
    found = {"machine": describe_machine(), "commit": commit(), "rows": rows}
    REAL.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


def real_table(known: dict[str, Any]) -> str:
    """Scores of captures without ground truth."""
    head = ("capture", "PSNR", "SSIM", "unseen masks explained", "by the paper's recipe")
    head += ("segments at most", "training", "peak memory", "measured")
    lines = [row(head), row(["---"] * len(head))]
    for entry in known["rows"]:
        scores = [f"{entry['psnr']:.1f} dB", f"{entry['ssim']:.3f}"]
        scores += [f"**{score(entry['explained'])}**", score(entry["explained_paper"])]
        cost = [f"{entry['seconds']['total']:.0f} s", f"{entry['peak_memory_gb']:.1f} GB"]
        cells = [entry["scene"], *scores, str(entry["num_segments"]), *cost, entry["date"]]
        lines.append(row(cells))
    return "\n".join(lines)


def scale_table(known: dict[str, Any]) -> str:
    """Peak memory by the number of photos."""
    lines = [row(["photos", "peak memory", "minutes"]), row(["---"] * 3)]
    for entry in sorted(known["runs"], key=lambda entry: entry["views"]):
        cells = [f"{entry['views']}", f"{entry['peak_gb']:.1f} GB", f"{entry['minutes']:.0f}"]
        lines.append(row(cells))
    return "\n".join(lines)


def viewer_text(known: dict[str, Any]) -> str:
    """How soon the page recolours, and what it costs a training."""
    colours, training = known["recolour"], known["training"]
    machine = known["machine"]
    return (
        f"{colours['gaussians']:,} Gaussians are recoloured in {colours['server_ms']:.0f} ms from "
        f"the slider's event to the message (the longest of {colours['moves']}: "
        f"{colours['server_longest_ms']:.0f} ms), {colours['client_ms']:.0f} ms seen from a client "
        f"that has received them all. Steps of a training on `{training['scene']}` take "
        f"{training['ratio_mean']:.3f} ± {training['ratio_error']:.3f} times as long with a page "
        f"and a client that does not render (mean of {training['blocks']} blocks of 50 steps; "
        f"median {training['ratio_median']:.3f}). {machine['cores']} cores of "
        f"{machine['cpu']}; `python benchmarks/viewer.py --output benchmarks/viewer.json`."
    )


def headline_table(record: dict[str, Any]) -> str:
    """Scores of every scene and size, means over seeds with their spread."""
    share = "of the ceiling"
    head = ["scene", "size", *(f"NC {level}" for level in LEVELS), share, "one cut", share]
    head += ["VC 10°", share, "PSNR", "SSIM", "Gaussians", "training", "peak memory"]
    lines = [row(head), row(["---"] * len(head))]
    rows = record["rows"]
    for entry in rows:
        levels = [spread(entry, "nc", level) for level in LEVELS]
        if "nc" in entry:
            levels[-1] = f"**{levels[-1]}**"
        scores = [*levels, spread(entry, "ratios", "nc")]
        scores += [spread(entry, "nc_fixed", "mean"), spread(entry, "ratios", "nc_fixed")]
        scores += [spread(entry, "vc", "10", "published"), spread(entry, "ratios", "vc", "10")]
        scores += [spread(entry, "psnr", digits=1, unit=" dB"), spread(entry, "ssim")]
        cost = [f"{entry['num_gaussians']['mean']:.0f}"]
        cost += [spread(entry, "seconds", "total", digits=0, unit=" s")]
        cost += [spread(entry, "peak_memory_gb", digits=1, unit=" GB")]
        lines.append(row([entry["scene"], str(entry["size"]), *scores, *cost]))

    def every(name: str) -> str:
        return ", ".join(sorted({str(entry[name]) for entry in rows}))

    machines = {(entry["machine"]["cores"], entry["machine"]["cpu"]) for entry in rows}
    seeds = "; ".join(sorted({", ".join(map(str, entry["seeds"])) for entry in rows}))
    places = "; ".join(f"{cores} cores of {cpu}" for cores, cpu in sorted(machines))
    note = (
        f"Mean ± sample standard deviation over seeds {seeds}. {places}, no GPU; {every('date')}, "
        f"{commits_of(rows)}; `make results`."
    )
    return "\n".join([*lines, "", note])


def commits_of(entries: Sequence[dict[str, Any]]) -> str:
    """The commit of all entries, or of each of their scenes if there are several."""
    places: dict[str, list[str]] = defaultdict(list)
    for entry in entries:
        places[str(entry["commit"])].append(f"{entry['scene']} {entry['size']}")
    if len(places) == 1:
        return f"commit {next(iter(places))}"
    return "; ".join(f"commit {commit}: {', '.join(names)}" for commit, names in places.items())


def headline_summary(record: dict[str, Any]) -> str:
    """Scores of every scene at its largest size: what the README shows."""
    largest: dict[str, dict[str, Any]] = {}
    for entry in record["rows"]:
        if "nc" in entry and entry["size"] >= largest.get(entry["scene"], entry)["size"]:
            largest[entry["scene"]] = entry
    head = (
        "scene",
        "NC",
        "of the ceiling",
        "one cut",
        "of the ceiling",
        "VC 10°",
        "of the ceiling",
    )
    lines = [row(head), row(["---"] * len(head))]
    for scene, entry in largest.items():
        scores = [f"**{spread(entry, 'nc', 'mean')}**", spread(entry, "ratios", "nc")]
        scores += [spread(entry, "nc_fixed", "mean"), spread(entry, "ratios", "nc_fixed")]
        scores += [spread(entry, "vc", "10", "published"), spread(entry, "ratios", "vc", "10")]
        lines.append(row([scene, *scores]))
    seeds = "; ".join(sorted({", ".join(map(str, each["seeds"])) for each in largest.values()}))
    dates = ", ".join(sorted({str(entry["date"]) for entry in largest.values()}))
    note = f"Mean ± sample standard deviation over seeds {seeds}; {dates}, "
    note += f"{commits_of(list(largest.values()))}."
    return "\n".join([*lines, "", note])


def sizes_table(record: dict[str, Any]) -> str:
    """NC / NC with one cut by size, of scenes that were trained at several."""
    sizes: dict[str, dict[int, dict[str, Any]]] = defaultdict(dict)
    for entry in record["rows"]:
        sizes[entry["scene"]][entry["size"]] = entry
    several = {scene: entries for scene, entries in sizes.items() if len(entries) > 1}
    columns = sorted({size for entries in several.values() for size in entries})
    lines = [row(["scene", *(f"{size} pixels" for size in columns)])]
    lines.append(row(["---"] * (len(columns) + 1)))
    for scene, entries in several.items():
        cells = [
            f"{spread(entries[size], 'nc', 'mean')} / {spread(entries[size], 'nc_fixed', 'mean')}"
            if size in entries
            else NONE
            for size in columns
        ]
        lines.append(row([scene, *cells]))
    return "\n".join(lines)


def spread(entry: dict[str, Any], *path: str, digits: int = 3, unit: str = "") -> str:
    """A figure with its spread over seeds as `0.929 ± 0.002`, or a dash where it is not known."""
    found: Any = entry
    for name in path:
        found = found.get(name, {})
    if not found:
        return NONE
    error = "" if found["spread"] is None else f" ± {found['spread']:.{digits}f}"
    return f"{found['mean']:.{digits}f}{error}{unit}"


def methods_table(results: dict[str, Any]) -> str:
    """Ours beside the baselines on every recorded scene."""
    names = list(dict.fromkeys(name for entry in results.values() for name in entry["methods"]))
    fixed = any("nc_fixed" in own for each in results.values() for own in each["methods"].values())
    head = [""]
    for scene in results:
        head += [f"{scene}: NC", *(["one cut"] if fixed else []), "VC 10°", "seconds"]
    lines = [row(head), row(["---"] * len(head))]
    for name in names:
        cells = [f"**{name}**" if name == "ours" else name]
        for entry in results.values():
            found = entry["methods"].get(name, {})
            seconds = found.get("seconds")
            cells += [score(found.get("nc"))]
            cells += [score(found.get("nc_fixed"))] if fixed else []
            cells += [score(found.get("vc"))]
            cells += [NONE if seconds is None else f"{seconds:.0f}"]
        lines.append(row(cells))
    return "\n".join(lines)


def baseline_tables(known: dict[str, Any]) -> dict[str, str]:
    """What was measured of the choices inside the baselines."""
    lifted = [row(["scene", "weight outside", *LEVELS]), row(["---"] * 6)]
    for entry in known["lift"]:
        scores = [score(entry["nc"][level]) for level in LEVELS]
        lifted.append(row([entry["scene"], str(entry["outside"]), *scores]))
    kinds = ["rendered", "surface"]
    head = ["scene", "fit", "seconds", "error, held-out views", "NC rendered", "NC on surfaces"]
    if all("rendered_fixed" in entry for entry in known["distil"]):
        kinds = ["rendered", "rendered_fixed", "surface", "surface_fixed"]
        head[5:] = ["one distance", "NC on surfaces", "one distance"]
    fits = [row(head), row(["---"] * len(head))]
    for entry in known["distil"]:
        figures = [f"{entry['seconds']:.0f}", f"{entry['error']:.3f}"]
        figures += [score(entry[kind]) for kind in kinds]
        fits.append(row([entry["scene"], entry["fit"], *figures]))
    when = measured(known)
    return {"lift": "\n".join([*lifted, "", when]), "distil": "\n".join([*fits, "", when])}


def score(value: float | None) -> str:
    """To three decimals, or a dash."""
    return NONE if value is None else f"{value:.3f}"


def ablation_table(rows: list[dict[str, Any]], key: str, *, timed: bool = False) -> str:
    """Mean NC by scene for every value of one choice; behind a slash with one cut a level.

    Where ceilings were recorded, the shares of them, means over the scenes, follow.
    """
    table: dict[str, dict[str, Any]] = defaultdict(dict)
    for entry in rows:
        table[entry[key]][entry["scene"]] = entry
    scenes = list(next(iter(table.values())))
    fixed, shares = (all(name in entry for entry in rows) for name in ("nc_fixed", "ratios"))
    names = ["nc", *(["nc_fixed"] if fixed else [])]
    head = ["NC / with one cut" if fixed else "", *scenes, "mean"]
    head += [*(["of the ceiling"] if shares else []), *(["seconds"] if timed else [])]
    lines = [row(head), row(["---"] * len(head))]

    def means(values: Sequence[float]) -> float:
        return sum(values) / len(values)

    best = max(
        means([entries[scene]["nc"]["mean"] for scene in scenes]) for entries in table.values()
    )
    for name, entries in table.items():
        found = [entries[scene] for scene in scenes]
        scores = [" / ".join(f"{entry[kind]['mean']:.3f}" for kind in names) for entry in found]
        averages = [means([entry[kind]["mean"] for entry in found]) for kind in names]
        mean = " / ".join(f"{average:.3f}" for average in averages)
        cells = [name, *scores, f"**{mean}**" if averages[0] == best else mean]
        if shares:
            ratios = (means([entry["ratios"][kind] for entry in found]) for kind in names)
            cells.append(" / ".join(f"{ratio:.3f}" for ratio in ratios))
        if timed:
            cells.append(f"{means([entry['seconds'] for entry in found]):.0f}")
        lines.append(row(cells))
    return "\n".join(lines)


def support_table(record: dict[str, Any]) -> str:
    """Calibration of support, and NC of natural levels beside that of the best cuts."""
    head = (
        "scene, seed",
        "nodes",
        "mean support",
        "right",
        "calibration error",
        "smoothed",
        "support / tree, processor seconds",
        "natural levels, segments",
        "NC objects: natural / best cut",
        "NC collections: natural / best cut",
    )
    lines = [row(head), row(["---"] * len(head))]
    for entry in record["rows"]:
        shares = [f"{entry[name]:.3f}" for name in ("mean_support", "right", "ece", "ece_smoothed")]
        found = entry["natural"]
        nc = [
            f"{found['nc_natural'][level]:.3f} / {found['nc_fixed'][level]:.3f}"
            for level in ("objects", "collections")
        ]
        name = f"{entry['scene']}, {entry['seed']}"
        levels = ", ".join(map(str, found["segments"]))
        seconds = f"{entry['seconds']['support']:.1f} / {entry['seconds']['tree']:.1f}"
        lines.append(row([name, str(entry["nodes"]), *shares, seconds, levels, *nc]))
    error = f"All nodes of all runs together: calibration error {pooled_error(record['rows']):.3f}."
    return "\n".join([*lines, "", f"{error} {measured(record)}"])


def pooled_error(rows: list[dict[str, Any]]) -> float:
    """Expected calibration error of the nodes of all runs, in tenths of support."""
    tenths: dict[int, list[dict[str, float]]] = defaultdict(list)
    for entry in (each for found in rows for each in found["bins"]):
        tenths[min(int(10 * entry["support"]), 9)].append(entry)
    off = [
        sum(e["nodes"] * (e["support"] - e["right"]) for e in group) for group in tenths.values()
    ]
    nodes = sum(entry["nodes"] for group in tenths.values() for entry in group)
    return sum(map(abs, off)) / nodes


def prompts_table(record: dict[str, Any]) -> str:
    """Clicks, masks and NC by scene and way of clicking, as means and spreads over seeds."""
    found: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for entry in record["rows"]:
        found[entry["scene"], entry["clicks"]].append(entry)
    head = ("scene", "clicks", "clicks a photo", "masks", "found", "projected s", "NC", "one cut")
    lines = [row([*head, "seeds"]), row(["---"] * (len(head) + 1))]
    for (scene, clicks), rows in sorted(found.items(), key=lambda each: each[0][0]):
        cells = [
            f"{statistics.mean(entry[name] for entry in rows):.{digits}f}"
            for name, digits in (("prompts", 0), ("masks", 0), ("recall", 2))
        ]
        cells.append(f"{statistics.mean(entry['projected seconds'] for entry in rows):.0f}")
        scores = [
            mean_and_spread([entry[name]["mean"] for entry in rows]) for name in ("nc", "nc_fixed")
        ]
        lines.append(row([scene, clicks, *cells, *scores, str(len(rows))]))
    command = "`python benchmarks/prompts.py RUNS --every 5 --output benchmarks/prompts.json`"
    return "\n".join([*lines, "", f"{command}. {measured(record)}"])


def mean_and_spread(values: list[float]) -> str:
    """Mean, and standard deviation if there are several values."""
    mean = f"{statistics.mean(values):.3f}"
    return f"{mean} ± {statistics.stdev(values):.3f}" if len(values) > 1 else mean


def segmenters_table(record: dict[str, Any]) -> str:
    """Seconds for each part of a model's work, and for a photo with each number of clicks."""
    head = ("model", "million weights", "photo", "64 clicks", "192 masks to 400 x 300")
    head += ("to 1600 x 1200", "1024 clicks", "200", "100", "peak GB")
    lines = [row(head), row(["---"] * len(head))]
    for name, entry in record["models"].items():
        parts = [
            f"{entry[part]['wall_s']:.1f}"
            for part in ("encode", "answer", "upsample_400", "upsample_1600")
        ]
        whole = [f"{entry[each]['wall_s']:.0f}" for each in ("grid", "adaptive", "guided")]
        lines.append(
            row([name, f"{entry['weights_m']:.0f}", *parts, *whole, f"{entry['peak_gb']:.1f}"])
        )
    command = "`python benchmarks/segmenters.py --output benchmarks/segmenters.json`"
    return "\n".join([*lines, "", f"{command}. {measured(record)}"])


def borders_table(record: dict[str, Any]) -> str:
    """What clean borders change, one line per run and way."""
    head = ("scene, size, seed", "borders", "ceiling, objects", "NC, objects", "NC", "one cut")
    head += ("straddling", "Gaussians", "PSNR", "parts, IoU", "border F", "s")
    lines = [row(head), row(["---"] * len(head))]
    for entry in sorted(record["rows"], key=lambda entry: (entry["scene"], -entry["size"])):
        nc, fixed, parts = (entry.get(name, {}) for name in ("nc", "nc_fixed", "parts"))
        scores = (
            entry["ceiling"]["objects"], nc.get("objects"), nc.get("mean"), fixed.get("mean"),
            parts.get("iou"), parts.get("border_f"),
        )  # fmt: skip
        cells = [NONE if score is None else f"{score:.3f}" for score in scores]
        whole = (f"{entry['straddling_true']:.1%}", str(entry["gaussians"]), f"{entry['psnr']:.2f}")
        name = f"{entry['scene']}, {entry['size']}, {entry['seed']}"
        lines.append(row([name, entry["way"], *cells[:4], *whole, *cells[4:]]))
        lines[-1] = lines[-1].removesuffix(" |") + f" | {entry['seconds']:.0f} |"
    command = "`python benchmarks/borders.py RUNS --parts --output benchmarks/borders.json`"
    if "commit" in record:  # Records of then say it once.
        return "\n".join([*lines, "", f"{command}. {measured(record)}"])
    where: dict[str, list[str]] = defaultdict(list)
    for entry in sorted(record["rows"], key=lambda entry: (-entry["size"], entry["seed"])):
        name = f"{entry['size']} pixels, seed {entry['seed']}"
        if name not in where[measured(entry)]:
            where[measured(entry)].append(name)
    said = [f"{'; '.join(names)}: {which}" for which, names in where.items()]
    return "\n".join([*lines, "", " ".join([f"{command}.", *said])])


def borders_rise(record: dict[str, Any]) -> str:
    """What one round of clean borders changes: means over seeds, and over scenes of a size."""
    pairs: dict[tuple[int, str], list[tuple[dict[str, Any], dict[str, Any]]]] = defaultdict(list)
    by_way = {(e["scene"], e["size"], e["seed"], e["way"]): e for e in record["rows"]}
    for (scene, size, seed, way), before in sorted(by_way.items()):
        after = by_way.get((scene, size, seed, "clean"))
        if way == "as fitted" and after is not None:
            pairs[size, scene].append((before, after))
    head = ("size", "scene", "seeds", "ceiling, objects", "PSNR, dB", "Gaussians")
    lines = [row(head), row(["---"] * len(head))]
    for size in sorted({size for size, _ in pairs}, reverse=True):
        scenes = {scene: found for (at, scene), found in pairs.items() if at == size}
        for scene, found in scenes.items():
            lines.append(row([str(size), scene, str(len(found)), *_rises(found)]))
        means = []
        for name in RISES:
            each = [statistics.fmean(_each_rise(name, found)) for found in scenes.values()]
            means.append(FORMATS[name].format(statistics.fmean(each)))
        lines.append(row([str(size), "mean of scenes", "", *means]))
    return "\n".join(lines)


RISES = ("ceiling", "psnr", "gaussians")
FORMATS = {"ceiling": "{:+.3f}", "psnr": "{:+.2f}", "gaussians": "{:+.1%}"}


def _rises(pairs: list[tuple[dict[str, Any], dict[str, Any]]]) -> list[str]:
    """Mean and sample deviation of each figure's rise."""
    cells = []
    for name in RISES:
        values = _each_rise(name, pairs)
        cell = FORMATS[name].format(statistics.fmean(values))
        if len(values) > 1:
            cell += f" ± {FORMATS[name].format(statistics.stdev(values)).lstrip('+')}"
        cells.append(cell)
    return cells


def _each_rise(name: str, pairs: list[tuple[dict[str, Any], dict[str, Any]]]) -> list[float]:
    """Rise of a figure in each run; of Gaussians, as a share."""
    if name == "ceiling":
        return [b["ceiling"]["objects"] - a["ceiling"]["objects"] for a, b in pairs]
    if name == "gaussians":
        return [b[name] / a[name] - 1 for a, b in pairs]
    return [b[name] - a[name] for a, b in pairs]


def batch_table(record: dict[str, Any]) -> str:
    """Seconds of a batch in each way, beside single trainings one after the other."""
    words = {
        "single": "`splat-uff train`, one after the other",
        "ray": "`splat-uff batch` with Ray",
        "no ray": "`splat-uff batch --no-ray`",
        "ray, one at a time": "with Ray, one at a time",
        "no ray, one at a time": "`--no-ray`, one at a time",
    }
    head = ("way", "s, each round", "median, of single trainings")
    lines = [row(head), row(["---"] * len(head))]
    for way, seconds in record["seconds"].items():
        each = ", ".join(f"{value:.0f}" for value in seconds)
        lines.append(row([words[way], each, f"{record['of_single'][way]:.2f}"]))
    ways = " ".join(f'"{way}"' if " " in way else way for way in record["seconds"])
    rounds = len(record["seconds"]["single"])
    command = f"`python benchmarks/batch.py --rounds {rounds} --ways {ways} --output FILE`"
    number = f"{record['captures']} times `{record['scene']}`"
    return "\n".join([*lines, "", f"{number}; {command}. {measured(record)}"])


def growth_table(record: dict[str, Any]) -> str:
    """Seconds by stage and peak memory of each training, and the slopes along each axis."""
    stages = ("gaussians", "features", "hierarchy", "evaluate", "total")
    head = ("Gaussians", "photos", "masks a photo", "reading", *stages, "peak, GB", "found")
    lines = [row(head), row(["---"] * len(head))]
    seen, elsewhere, machine = set(), "", record["rows"][0]["machine"]
    for entry in record["rows"]:
        case, same = entry["case"], entry["machine"] == machine
        if (str(case), same) in seen:  # The standard case is on every axis.
            continue
        seen.add((str(case), same))
        mark = "" if same else " *"
        elsewhere = elsewhere if same else f" \\* on another machine: {measured(entry)}"
        width, height = case["width"], round(case["width"] / 1.5)
        cells = (f"{case['gaussians']:,}{mark}", f"{case['views']} of {width} x {height}")
        spent = entry["seconds"]
        seconds = [f"{spent['capture'] + spent['masks']:.0f}"]
        seconds += [f"{spent[stage]:.0f}" for stage in stages]
        found = f"{entry['found']['parts']:.3f}, {entry['found']['houses']:.3f}"
        masks = f"{entry['masks_per_photo']:.0f}"
        lines.append(row([*cells, masks, *seconds, f"{entry['peak_gb']:.1f}", found]))
    words = {"width": "pixels of a photo", "masks": "masks of a photo", "views": "photos"}
    head = ("slope over", *stages, "peak memory")
    lines += ["", row(head), row(["---"] * len(head))]
    for axis, slopes in record["slopes"].items():
        numbers = [f"{slopes[name]:.2f}" for name in (*stages, "peak memory")]
        lines.append(row([words.get(axis, "Gaussians"), *numbers]))
    command = "`python benchmarks/growth.py --output benchmarks/growth.json`"
    here = [entry for entry in record["rows"] if entry["machine"] == machine]
    others = sorted({entry["commit"] for entry in here} - {here[-1]["commit"]})
    earlier = f" Some rows: commit {', '.join(others)}." if others else ""
    return "\n".join([*lines, "", f"{command}. {measured(here[-1])}{earlier}{elsewhere}"])


def blocks_table(record: dict[str, Any]) -> str:
    """NC of trees with superpoints in blocks, then seconds and memory of superpoints alone."""
    head = ("scene, size, seed", "blocks", "NC, objects", "NC", "one cut", "s")
    lines = [row(head), row(["---"] * len(head))]
    for entry in record["trees"]:
        name = f"{entry['scene']}, {entry['size']}, {entry['seed']}"
        nc, fixed = entry["nc"], entry["nc_fixed"]
        cells = [f"{each:.3f}" for each in (nc["objects"], nc["mean"], fixed["mean"])]
        lines.append(row([name, str(entry["blocks"]), *cells, f"{entry['seconds']:.0f}"]))
    head = ("points", "blocks", "superpoints", "s", "memory, GB")
    lines += ["", row(head), row(["---"] * len(head))]
    for entry in record["memory"]:
        numbers = [f"{entry[name]:,}" for name in ("points", "blocks", "superpoints")]
        lines.append(row([*numbers, f"{entry['seconds']:.0f}", f"{entry['memory_gb']:.1f}"]))
    command = "`python benchmarks/blocks.py RUNS --output benchmarks/blocks.json`"
    trees = commits_of([tree for tree in record["trees"] if tree["blocks"] == 1])
    return "\n".join([*lines, "", f"{command}. Trees: {trees}. Memory: {measured(record)}"])


def windows_table(record: dict[str, Any]) -> str:
    """Trainings whose steps look at windows, beside those whose steps look at whole photos."""
    head = ("scene, size", "a step sees", "PSNR", "NC", "gaussians, s", "total, s", "forecast")
    lines = [row(head), row(["---"] * len(head))]
    for entry in record["rows"]:
        seconds = entry["seconds"]
        scores = (f"{entry['psnr']:.2f}", NONE if entry["nc"] is None else f"{entry['nc']:.3f}")
        spent = (f"{seconds['gaussians']:.0f}", f"{seconds['total']:.0f}")
        sight = f"a window of {entry['most']:,} pixels" if entry["windows"] else "the whole photo"
        error = f"{entry['forecast_error']:+.0%}"
        lines.append(row([f"{entry['scene']}, {entry['size']}", sight, *scores, *spent, error]))
    command = "`python benchmarks/windows.py SCENES --output benchmarks/windows.json`"
    return "\n".join([*lines, "", f"{command}. {measured(record['rows'][-1])}"])


def compiling_table(record: dict[str, Any]) -> str:
    """CPU seconds of compiling kernels: by part, by kernel, and with other settings of numba."""
    lines = [row(("kernels of", "functions", "CPU s", "most of it")), row(["---"] * 4)]
    for name, part in record["parts"].items():
        slowest = list(part["kernels"].items())[:6]
        most = ", ".join(f"`{path.rpartition('.')[2]}` {spent:.1f}" for path, spent in slowest)
        lines.append(row((name, str(part["functions"]), f"{part['seconds']:.0f}", most)))
    lines += ["", row(("settings, kernels of fit", "CPU s")), row(["---"] * 2)]
    for entry in record["variants"]:
        lines.append(row((entry["settings"], ", ".join(f"{s:.0f}" for s in entry["seconds"]))))
    command = "`python benchmarks/compiling.py --output benchmarks/compiling.json`"
    return "\n".join([*lines, "", f"{command}. {measured(record)}"])


def fit_table(record: dict[str, Any]) -> str:
    """Scores of each variant of the photometric fit, a column for each scene."""
    by_variant: dict[str, dict[str, dict[str, Any]]] = defaultdict(dict)
    for entry in record["rows"]:
        by_variant[entry["variant"]][f"{entry['scene']}, {entry['size']}"] = entry
    scenes = sorted({scene for entries in by_variant.values() for scene in entries})
    head = ["variant", *(f"{scene}: PSNR / ceiling / s" for scene in scenes)]
    lines = [row(head), row(["---"] * len(head))]
    first = record["rows"][0]
    others = [entry for entry in record["rows"] if entry["machine"] != first["machine"]]

    def cell(entry: dict[str, Any]) -> str:
        mark = " *" if entry["machine"] != first["machine"] else ""
        return f"{entry['psnr']:.2f} / {entry['ceiling']:.3f} / {entry['seconds']:.0f}{mark}"

    for variant, entries in by_variant.items():
        cells = [cell(entries[scene]) if scene in entries else NONE for scene in scenes]
        lines.append(row([variant, *cells]))
    command = "`python benchmarks/fit.py RUNS --output benchmarks/fit.json`"
    elsewhere = f" \\* on another machine: {measured(others[-1])}" if others else ""
    return "\n".join([*lines, "", f"{command}, seed 0. {measured(first)}{elsewhere}"])


def speed_table(record: dict[str, Any]) -> str:
    """Seconds of whole trainings beside another version's."""
    stages = ("masks", "gaussians", "features", "evaluate", "total")
    head = ("scene, size", "version", *(f"{stage}, s" for stage in stages), "PSNR", "NC", "ratio")
    lines = [row(head), row(["---"] * len(head))]
    for entry in record["rows"]:
        for name, version in (("former", entry["other"]), ("this", entry["commit"])):
            found = entry[name]
            cells = [f"{found[stage]:.1f}" for stage in stages]
            ratio = f"{found['total'] / entry['former']['total']:.2f}"
            scores = (f"{found['psnr']:.2f}", f"{found['nc']:.3f}", ratio)
            place = f"{entry['scene']}, {entry['size']}"
            lines.append(row([place, version, *cells, *scores]))
    command = "`python benchmarks/speed.py CHECKOUT --output benchmarks/speed.json`"
    rounds = sorted({entry["this"]["trainings"] for entry in record["rows"]})
    counts = " or ".join(map(str, rounds))
    return "\n".join(
        [*lines, "", f"{command}; {counts} trainings each. {measured(record['rows'][-1])}"]
    )


def parts_table(record: dict[str, Any]) -> str:
    """Scores of parts alone, one line per run and method."""
    methods = {
        "ours": "node of the tree",
        "lifted": "lifted mask (SAM3D)",
        "ceiling": "true labels",
    }
    scores = {
        "iou": "IoU",
        "border_f": "border F",
        "psnr": "PSNR alone",
        "psnr_in_scene": "PSNR in scene",
        "psnr_photo": "PSNR photo",
        "iou_seen": "IoU seen",
        "never_seen": "never seen",
    }
    head = ["scene, size, seed", "method", *scores.values()]
    lines = [row(head), row(["---"] * len(head))]
    for entry in record["rows"]:
        cells = [
            NONE if entry[name] is None else f"{entry[name]:.{1 if 'psnr' in name else 3}f}"
            for name in scores
        ]
        name = f"{entry['scene']}, {entry['size']}, {entry['seed']}"
        lines.append(row([name, methods[entry["method"]], *cells]))
    command = "`python benchmarks/parts.py RUNS --output benchmarks/parts.json`"
    return "\n".join([*lines, "", f"{command}. {measured(record)}"])


def splat_alone_table(record: dict[str, Any]) -> str:
    """NC and NC with one cut of trees with and without photos, as means over seeds."""
    found: dict[tuple[str, str, str], list[dict[str, Any]]] = defaultdict(list)
    for entry in record["rows"]:
        found[entry["scene"], entry["masks"], entry["photos"]].append(entry)
    head = ("scene", "masks", "views", "photos: NC", "one cut", "alone: NC", "one cut", "seeds")
    lines = [row(head), row(["---"] * len(head))]
    for scene, masks in dict.fromkeys((scene, masks) for scene, masks, _ in found):
        real, alone = found[scene, masks, "real"], found[scene, masks, "virtual"]
        views = f"{real[0]['views']} / {alone[0]['views']}"
        scores = [
            f"{sum(entry[score]['mean'] for entry in rows) / len(rows):.3f}"
            for rows in (real, alone)
            for score in ("nc", "nc_fixed")
        ]
        lines.append(row([scene, masks, views, *scores, str(len(alone))]))
    command = "`python benchmarks/splat_alone.py RUNS --output benchmarks/splat_alone.json`"
    return "\n".join([*lines, "", f"{command}. {measured(record)}"])


def splat_alone_times(record: dict[str, Any]) -> str:
    """Seconds of trainings on splats alone by stage, and peak memory."""
    stages = ("cameras", "masks", "features", "hierarchy", "evaluate")
    head = ("Gaussians", *stages, "all", "peak memory")
    lines = [row(head), row(["---"] * len(head))]
    for entry in record.get("timed", []):
        seconds = [f"{entry['seconds'].get(stage, 0):.0f} s" for stage in stages]
        memory = f"{entry['peak_memory_gb']:.1f} GB"
        lines.append(row([f"{entry['gaussians']:,}", *seconds, f"{entry['total']:.0f} s", memory]))
    command = "`python benchmarks/splat_alone.py RUN --timed 200000 1000000 --output ...`"
    return "\n".join([*lines, "", f"{command}. {measured(record)}"])


def splat_formats_table(record: dict[str, Any]) -> str:
    """Scores of trees from files of each format, and how far they are those of the .ply."""
    cuts = ("5", "20", "100")
    heads = ("scene", "file", "bytes", "NC", "one cut", *(f"as the .ply, {cut}" for cut in cuts))
    lines = [row(heads), row(["---"] * len(heads))]
    for entry in record["rows"]:
        scores = [f"{entry[name]:.3f}" for name in ("nc", "nc_fixed")]
        same = [f"{entry['rand'][cut]:.2f}" for cut in cuts]
        lines.append(row([entry["scene"], entry["file"], f"{entry['bytes']:,}", *scores, *same]))
    command = "`python benchmarks/splat_formats.py RUNS --output benchmarks/splat_formats.json`"
    return "\n".join([*lines, "", f"{command}. {measured(record)}"])


def features_table(record: dict[str, Any]) -> str:
    """All variants by the first seed; then the means over seeds of those that have them all."""
    rows = record["rows"]
    seeds = sorted({row["seed"] for row in rows})
    first = [row for row in rows if row["seed"] == seeds[0]]
    text = f"Seed {seeds[0]}:\n\n{_variants(first)}\n\n"
    if len(seeds) > 1:
        full = [
            row
            for row in rows
            if {other["seed"] for other in rows if _kind(other) == _kind(row)} == set(seeds)
        ]
        named = ", ".join(map(str, seeds))
        text += f"Means of seeds {named}, where all were fitted:\n\n{_variants(full)}\n\n"
    return text + measured(record)


def classical_masks_table(record: dict[str, Any]) -> str:
    """One row for each scene and kind of masks, and the means over scenes that have all kinds."""
    rows = record["rows"]
    lines = [
        "| scene | masks | NC objects | NC collections | NC mean / one cut | NC of the masks |"
        " masks a photo | seconds |",
        "|" + " --- |" * 8,
    ]
    kinds = list(dict.fromkeys(each["masks"] for each in rows))[::-1]
    scenes = list(dict.fromkeys(each["scene"] for each in rows))
    found = {(each["scene"], each["masks"]): each for each in rows}
    for scene in scenes:
        for kind in kinds:
            if (scene, kind) in found:
                own = found[scene, kind]
                cells = [f"{own[key]:.0f}" for key in ("masks_a_photo", "seconds")]
                nc = own["nc"]
                scores = [f"{nc['objects']:.3f}", f"{nc['collections']:.3f}"]
                both = f"{nc['mean']:.3f} / {own['nc_fixed']['mean']:.3f}"
                masks = f"{own['nc_masks']['mean']:.3f}"
                lines.append(row([f"*{scene}*", kind, *scores, both, masks, *cells]))
    full = [scene for scene in scenes if all((scene, kind) in found for kind in kinds)]
    for kind in kinds if full else ():
        own = [found[scene, kind] for scene in full]
        scores = [
            f"{statistics.mean(each['nc'][level] for each in own):.3f}"
            for level in ("objects", "collections", "mean")
        ]
        fixed = statistics.mean(each["nc_fixed"]["mean"] for each in own)
        masks = statistics.mean(each["nc_masks"]["mean"] for each in own)
        named = f"mean of {len(full)}"
        both = f"{scores[2]} / {fixed:.3f}"
        lines.append(row([named, kind, *scores[:2], both, f"{masks:.3f}", "", ""]))
    return "\n".join(lines) + "\n\n" + measured(record)


def _kind(row: dict[str, Any]) -> tuple[str, str]:
    return row["scene"], row["variant"]


def _variants(rows: Sequence[dict[str, Any]]) -> str:
    """One row for each variant, one column for each scene and one for the seconds."""
    scenes = list(dict.fromkeys(row["scene"] for row in rows))
    lines = [f"| variant | {' | '.join(scenes)} | seconds |", "| --- |" + " --- |" * len(scenes)]
    lines[1] += " --- |"
    for variant in dict.fromkeys(row["variant"] for row in rows):
        own = [row for row in rows if row["variant"] == variant]
        cells = []
        for scene in scenes:
            found = [row for row in own if row["scene"] == scene]
            means = [
                sum(row[name]["mean"] for row in found) / len(found)
                for name in ("nc", "nc_fixed")
                if found
            ]
            cells.append(" / ".join(f"{mean:.3f}" for mean in means) or NONE)
        seconds = sum(row["seconds"] for row in own) / len(own)
        lines.append(f"| {variant} | {' | '.join(cells)} | {seconds:.0f} |")
    return "\n".join(lines)


def consensus_scale_table(known: dict[str, Any]) -> str:
    """Seconds and memory of the tree by consensus, by size."""
    parts = list(known["rows"][0]["seconds"])
    head = ["Gaussians", "photos", "masks", "budget", *parts, "on disk", "peak memory"]
    lines = [row(head), row(["---"] * len(head))]
    for entry in known["rows"]:
        sizes = [f"{entry[name]:,}" for name in ("gaussians", "views", "masks")]
        seconds = [f"{entry['seconds'][name]:.1f}" for name in parts]
        sizes += [f"{entry['memory_gb']:.1f} GB"]
        memory = [f"{entry[name]:.1f} GB" for name in ("on_disk_gb", "peak_gb")]
        lines.append(row([*sizes, *seconds, *memory]))
    loads = [entry["load"] for entry in known["rows"]]
    load = f"Load average by other work: {min(loads):.0f} to {max(loads):.0f}."
    return "\n".join([*lines, "", f"{measured(known)} {load}"])


def tree_choices_table(record: dict[str, Any]) -> str:
    """Differences from the first choice in thousandths: mean, deviation, worst scene."""
    table: dict[str, dict[tuple[str, int], dict[str, Any]]] = defaultdict(dict)
    aside = [entry for entry in record["rows"] if entry["aside"]]
    for entry in record["rows"]:
        if not entry["aside"]:
            table[entry["choice"]][entry["scene"], entry["seed"]] = entry
    first = next(iter(table))
    names = ("nc", "nc_fixed")
    head = ["choice", "NC", "NC, one cut", "worst scene: NC", "one cut", "runs"]
    lines = [row(head), row(["---"] * len(head))]
    for choice, entries in table.items():
        means, worst = [], []
        for name in names:
            by_scene = defaultdict(list)
            for (scene, seed), entry in entries.items():
                since = table[first][scene, seed][name] if choice != first else 0.0
                by_scene[scene].append(entry[name] - since)
            values = [value for each in by_scene.values() for value in each]
            mean = statistics.fmean(values)
            if choice == first:
                means.append(f"{mean:.4f}")
                worst.append(f"{min(map(statistics.fmean, by_scene.values())):.4f}")
                continue
            deviation = statistics.stdev(values) if len(values) > 1 else 0.0
            means.append(f"{1000 * mean:+.1f} ± {1000 * deviation:.1f}")
            scene = min(by_scene, key=lambda scene: statistics.fmean(by_scene[scene]))
            worst.append(f"{1000 * statistics.fmean(by_scene[scene]):+.1f} {scene}")
        lines.append(row([choice, *means, *worst, str(len(entries))]))
    checks = [
        f"{entry['scene']}, seed {entry['seed']}, {entry['choice']}: "
        f"{entry['nc']:.4f} / {entry['nc_fixed']:.4f}"
        for entry in aside
    ]
    return "\n".join([*lines, "", f"Kept aside: {'; '.join(checks)}. {measured(record)}"])


def density_table(measured_rows: dict[str, Any]) -> str:
    """Scores of every strategy on every scene."""
    fixed = all("nc_fixed" in entry for entry in measured_rows["rows"])
    head = ("scene", "strategy", "PSNR", "SSIM", "NC mean", *(["one cut"] if fixed else []))
    head += ("Gaussians",)
    lines = [row(head), row(["---"] * len(head))]
    for entry in measured_rows["rows"]:
        scores = [f"{entry['psnr']:.2f} dB", f"{entry['ssim']:.4f}", score(entry["nc"]["mean"])]
        scores += [score(entry["nc_fixed"]["mean"])] if fixed else []
        lines.append(row([entry["scene"], entry["strategy"], *scores, str(entry["num_gaussians"])]))
    return "\n".join([*lines, "", measured(measured_rows)])


def rasterizer_tables(known: dict[str, Any]) -> dict[str, str]:
    """The three tables of benchmarks/RASTERIZER.md."""
    targets = known["targets"]["rows"]
    names = list(targets[0]["ms"])
    others = names[1:]
    head = ["image", "channels", *names, *(f"ours / {name}" for name in others)]
    lines = [row(head), row(["---"] * len(head))]
    for entry in targets:
        ms, ours = entry["ms"], entry["ms"]["ours"]
        times = [f"{ms[name]:.1f}" for name in names]
        ratios = [f"**{ours / ms[name]:.2f}**" for name in others]
        shape = [f"{entry['size']}x{entry['size']}", str(entry["channels"])]
        lines.append(row([*shape, *times, *ratios]))
    (size,) = known["size"]["rows"]
    million, second = size["million"], size["second"]
    facts = {
        "a million at 800x800, seconds": million["seconds"],
        "resident memory before, GB": million["GB before"],
        "resident memory at most, GB": million["GB at most"],
        "second process: torch and numba imported, seconds": second["libraries"],
        "second process: all imported, seconds": second["imports"],
        "second process: first image and gradients done, seconds": second["total"],
    }
    variants = known["variants"]["rows"]
    cases = list(variants[0]["ratios"])
    head = ["instead", "predicted", *cases]
    tried = [row(head), row(["---"] * len(head))]
    for entry in variants:
        ratios = [f"{entry['ratios'][case]:.2f}" for case in cases]
        tried.append(row([entry["name"], entry["predicted"], *ratios]))

    def dated(part: str, table: list[str]) -> str:
        machine = known[part]["machine"]
        place = f"{machine['cores']} cores of {machine['cpu']} ({machine['vectors']})"
        return "\n".join([*table, "", f"{known[part]['date']}, {place}."])

    sizes = [row(["what", "measured"]), row(["---", "---"])]
    sizes += [row([name, f"{value:.2f}"]) for name, value in facts.items()]
    return {
        "targets": dated("targets", lines),
        "size": dated("size", sizes),
        "variants": dated("variants", tried),
    }


def measured(entry: dict[str, Any]) -> str:
    """When, on what and at which commit something was measured."""
    machine = entry["machine"]
    return (
        f"{entry['date']}, {machine['cores']} cores of {machine['cpu']}, commit {entry['commit']}."
    )


def module_tree() -> str:
    """Every room with the first line of its docstring."""
    order = (
        *("system", "geometry", "formats", "capture", "masks", "render", "gaussians", "virtual"),
        *("features", "hierarchy", "evaluate", "baselines", "run", "report", "training", "export"),
        *("paper", "scenes", "batch", "view", "commands"),
    )
    rooms = {path.parent.name for path in (ROOT / "splat_uff").glob("*/__init__.py")}
    if rooms != set(order):
        raise SystemExit(f"say in module_tree where {', '.join(rooms ^ set(order))} stands.")
    lines = []
    for room in order:
        init = ROOT / "splat_uff" / room / "__init__.py"
        doc = ast.get_docstring(ast.parse(init.read_text(encoding="utf-8"))) or ""
        lines.append(f"{room + '/':<12} {doc.splitlines()[0]}")
    return "```\n" + "\n".join(lines) + "\n```"


def row(cells: Sequence[str]) -> str:
    """One line of a Markdown table."""
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    main()
