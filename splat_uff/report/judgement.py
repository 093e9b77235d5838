"""The judgement of masks as tables for the terminal."""

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from splat_uff.masks.verdict import MaskJudgement
from splat_uff.report.tables import format_score

NOTHING = "nothing stands out"
FACTS = {
    "masks": ("masks a view", "{:.0f}"),
    "coverage": ("scene covered by masks", "{:.1%}"),
    "overlap": ("masks on a covered pixel", "{:.1f}"),
    "crossing": ("overlapping masks that cross", "{:.1%}"),
    "outside": ("masked pixels outside of the scene", "{:.1%}"),
    "smallest": ("smallest mask, share of the picture", "{:.3%}"),
    "median": ("median mask", "{:.2%}"),
    "largest": ("largest mask", "{:.0%}"),
    "found": ("masks found in neighbouring views (IoU)", "{:.3f}"),
    "kept": ("neighbours' masks found in a view (IoU)", "{:.3f}"),
    "agreement": ("agreement of views, mean of both", "{:.3f}"),
}
"""Name and format of the mean of each figure."""


def judgement_table(judgement: MaskJudgement) -> RenderableType:
    """Table of the mean figures of all views, above one of the worst views with reasons."""
    means = judgement.means
    facts = Table(
        title=f"Masks of {len(judgement.views)} views, means",
        title_justify="left",
        box=SIMPLE_HEAD,
        show_header=False,
    )
    facts.add_column(min_width=40)
    facts.add_column(justify="right")
    for figure, (name, form) in FACTS.items():
        if figure in means:
            facts.add_row(Text(name), Text(form.format(means[figure])))
    parts: list[RenderableType] = [facts, _worst_table(judgement)]
    if "agreement" not in means:
        text = "Without Gaussians, it is unknown whether neighbouring views agree."
        parts.append(Text(text, style="dim"))
    return Group(*parts)


def _worst_table(judgement: MaskJudgement) -> Table:
    table = Table(title="Views to look at, the worst first", title_justify="left", box=SIMPLE_HEAD)
    table.add_column("view")
    agreed = any(bad.agreement is not None for bad in judgement.worst)
    if agreed:
        table.add_column("agreement", justify="right")
    table.add_column("what is wrong")
    for bad in judgement.worst:
        cells = [Text(bad.view)]
        if agreed:
            cells.append(Text(format_score(bad.agreement)))
        why = "; ".join(bad.reasons) or NOTHING
        table.add_row(*cells, Text(why, style="" if bad.reasons else "dim"))
    return table
