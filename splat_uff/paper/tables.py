"""The paper's tables for one scene, in Markdown, with the published figures below."""

from collections.abc import Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from splat_uff.report.tables import (
    COLUMNS,
    CONTEXT_TITLE,
    PUBLISHED,
    PUBLISHED_VC,
    VC_ANGLES,
    ScoreRow,
    format_score,
)

PUBLISHED_NEGATIVES = {"1": 0.709, "4": 0.720}
"""Mean NC by the number of negatives per positive; He et al., ECCV 2024."""
PUBLISHED_SLOWDOWN = 43
"""Extra time that four negatives take in the paper, in percent."""
CEILING = "ceiling, true labels"
"""Name of the ceiling among the methods: the scores if each Gaussian carried its true label."""
NONE = "–"  # noqa: RUF001

Rows = Sequence[Sequence[str]]


def write_page(record: dict[str, Any], pictures: dict[str, str]) -> str:
    """Write the page of all tables and figures, in Markdown.

    Args:
        record: Contents of `paper.json`.
        pictures: Picture files beside the page, by name: `segments`, `features` and, if available,
            `consistency` and `by views`.
    """
    methods = record["methods"]
    pictures = {name: f"![{name}]({file})" for name, file in pictures.items()}
    parts = [
        f"# The paper's tables on {record['scene']}",
        _introduction(record),
        "## NC, normalized covering",
        "Over exactly 50 granularities where a method has them; ± is the standard error over "
        "views. One cut: the mean of the three levels with one granularity a level, the same for "
        "all views and clicks. Shares are of the ceiling, what the Gaussians could score if each "
        "bore its true label. SI is its mean over levels, seconds what the method took once the "
        "Gaussians stood.",
        covering_table(methods),
        "## View consistency by angle (the paper's Table 5)",
        "As published: the camera is rotated about the vertical, the warp rounds as the published "
        "script does. True labels on the same Gaussians, not 1, bound what a tree can reach.",
        consistency_table(methods),
        pictures.get("consistency", ""),
        "## Dense features in 3D (the paper's Table 6)",
        f"Features: {record['features']}. *Rendered* are blended along the ray, *on surfaces* are "
        "read at the surface point, as DFF's own code does.",
        variants_table(methods),
        "## Four negatives for each positive",
        negatives_table(record["negatives"]),
    ]
    if "by_views" in methods.get("SAM3D", {}):
        parts += [
            "## NC of SAM3D by the number of views (the paper's Figure 7)",
            pictures.get("by views", ""),
            by_views_table(methods["SAM3D"]["by_views"]),
        ]
    parts += [
        "## Segments",
        "True segments at three levels, and ours at the granularities that fit these best: one cut "
        "for all views, one colour for a segment in all views; its largest part keeps it from "
        "coarse to fine.",
        pictures["segments"],
        "## Features",
        "The three main directions in which features vary, as red, green and blue.",
        pictures["features"],
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def covering_table(methods: dict[str, Any]) -> str:
    """Table of every method's NC by level and with one cut per level, shares, SI and seconds."""
    ceiling = methods.get(CEILING, {})
    lines = []
    for name, scores in methods.items():
        if "nc" not in scores:
            continue
        error = scores.get("nc_standard_errors", {}).get("mean")
        seconds = scores.get("seconds")
        lines.append(
            [
                name,
                *(format_score(scores["nc"][level]) for level in COLUMNS[:-1]),
                format_score(scores["nc"]["mean"], error),
                format_score(_share(scores, ceiling, "nc")),
                format_score(_mean(scores, "nc_fixed")),
                format_score(_share(scores, ceiling, "nc_fixed")),
                format_score(scores["si"]["mean"] if "si" in scores else None),
                NONE if seconds is None else f"{seconds:.0f}",
            ]
        )
    published = [
        [f"*{row.name}*", *(format_score(value) for value in row.values), *[NONE] * 5]
        for row in PUBLISHED
    ]
    head = ["", *COLUMNS, "of the ceiling", "one cut", "of the ceiling", "SI", "seconds"]
    return _table(head, [*lines, *published]) + _context()


def consistency_table(methods: dict[str, Any]) -> str:
    """Table of VC by angle, for every method that has scores in rotated views."""
    lines = []
    for name, scores in methods.items():
        found = scores.get("vc") or {}
        for kind, suffix in (("published", ""), ("exact", ", exact depth")):
            values = [found.get(angle, {}).get(kind) for angle in VC_ANGLES]
            if any(values) and not (kind == "exact" and name not in ("ours", CEILING)):
                lines.append(
                    [
                        name + suffix,
                        *(
                            format_score(value["mean"], value["standard_errors"].get("mean"))
                            if value
                            else NONE
                            for value in values
                        ),
                    ]
                )
    if not lines:
        return "The capture has no rotated views with depth, so there is no VC."
    shares = methods.get("ours", {}).get("ratios", {}).get("vc", {})
    if shares:
        values = [format_score(shares.get(angle)) for angle in VC_ANGLES]
        lines.append(["ours, as a share of the ceiling", *values])
    published = [
        [f"*{name}*", *(format_score(value) for value in values)]
        for name, values in PUBLISHED_VC.items()
    ]
    return _table(["", *(f"{angle}°" for angle in VC_ANGLES)], [*lines, *published]) + _context()


def variants_table(methods: dict[str, Any]) -> str:
    """Table of NC by level, for each way to read distilled features."""
    named = {row.name: row for row in PUBLISHED}
    names = {
        "DFF, rendered": named["LSeg + DFF, rendered"],
        "DFF, on surfaces": named["LSeg + DFF, on surfaces"],
    }
    lines = [
        [
            name,
            *(format_score(methods[name]["nc"][level]) for level in COLUMNS),
            format_score(_mean(methods[name], "nc_fixed")),
        ]
        for name in ("DFF, rendered", "DFF, on surfaces", "LeRF, best scale", "LSeg, 2D features")
        if name in methods
    ]
    published: list[ScoreRow] = [names[line[0]] for line in lines if line[0] in names]
    context = [[f"*{row.name}*", *(format_score(v) for v in row.values), NONE] for row in published]
    return _table(["", *COLUMNS, "one cut"], [*lines, *context]) + _context()


def negatives_table(negatives: dict[str, dict[str, Any]]) -> str:
    """Table of NC and seconds with one and with four negatives per positive."""
    lines = []
    for name, found in negatives.items():
        one, four = found["1"], found["4"]
        slower = round(100 * (four["seconds"] / one["seconds"] - 1))
        lines.append(
            [
                name,
                *(format_score(each["nc"]["mean"]) for each in (one, four)),
                *(format_score(_mean(each, "nc_fixed")) for each in (one, four)),
                *(f"{each['seconds']:.0f}" for each in (one, four)),
                f"{slower:+d} %",
            ]
        )
    values = [format_score(PUBLISHED_NEGATIVES[ratio]) for ratio in ("1", "4")]
    published = ["*UFF on Blender-HS*", *values, *[NONE] * 4, f"{PUBLISHED_SLOWDOWN:+d} %"]
    head = ["", "NC 1:1", "NC 4:1", "one cut 1:1", "one cut 4:1"]
    head += ["seconds 1:1", "seconds 4:1", "time"]
    return _table(head, [*lines, published]) + _context()


def by_views_table(by_views: list[dict[str, float]]) -> str:
    """Table of NC against the number of views whose masks are used."""
    count = len(by_views)
    shown = sorted({1, 2, 3, 5, 10, 15, 20, count} & set(range(1, count + 1)))
    lines = [
        [str(number), *(format_score(by_views[number - 1][level]) for level in COLUMNS)]
        for number in shown
    ]
    return _table(["views", *COLUMNS], lines)


def summary_table(methods: dict[str, Any]) -> Table:
    """Table for the terminal: NC, NC with one cut per level and VC at 10 degrees of all methods."""
    table = Table(title="NC by level, and VC at 10°", title_justify="left", box=SIMPLE_HEAD)
    table.add_column("")
    for column in (*COLUMNS, "one cut", "VC 10°", "seconds"):
        table.add_column(column, justify="right")
    for name, scores in methods.items():
        consistency = (scores.get("vc") or {}).get(VC_ANGLES[0], {}).get("published")
        seconds = scores.get("seconds")
        table.add_row(
            name,
            *(format_score(scores["nc"][level]) for level in COLUMNS),
            format_score(_mean(scores, "nc_fixed")),
            format_score(consistency and consistency["mean"]),
            NONE if seconds is None else f"{seconds:.0f}",
            style="bold" if name == "ours" else None,
        )
    return table


def _mean(scores: dict[str, Any], name: str) -> float | None:
    """Mean over the levels of one score of a method, if it is known."""
    return scores[name]["mean"] if name in scores else None


def _share(scores: dict[str, Any], ceiling: dict[str, Any], name: str) -> float | None:
    """Score of a method as a share of the ceiling's, if both are known."""
    own, bound = _mean(scores, name), _mean(ceiling, name)
    return own / bound if own is not None and bound else None


def _introduction(record: dict[str, Any]) -> str:
    machine = record["machine"]
    return (
        f"Made by `splat-uff paper` on {record['date']}, {machine['cores']} cores of "
        f"{machine['cpu']}, splat-uff {record['version']}. All methods stand on the "
        f"{record['num_gaussians']:,} Gaussians of one run ({record['psnr']:.1f} dB), see the same "
        f"{record['masks']} masks and are clicked on the same pixels. Rows in italics are the "
        "paper's, from other scenes and real SAM masks: context, not a comparison."
    )


def _context() -> str:
    return f"\n\n*In italics: {CONTEXT_TITLE[0].lower()}{CONTEXT_TITLE[1:]}.*"


def _table(head: Sequence[str], rows: Rows) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
