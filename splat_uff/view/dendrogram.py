"""A plot of the tree above a cut."""

import numpy as np
import plotly.graph_objects as go
from jaxtyping import UInt8

from splat_uff.view.selection import Selection

MOST_TIPS = 40
"""Most segments shown in the plot; if there are more, those that split off highest."""


def dendrogram_figure(
    selection: Selection, colours: UInt8[np.ndarray, "T 3"], num_segments: int
) -> go.Figure:
    """Draw the tree from the root down to a cut.

    Segments are the tips of the tree; merges further to the right are higher. The selection is
    drawn with thick lines.

    Args:
        selection: Selection, which also holds the tree and the names of nodes.
        colours: Colour of each node.
        num_segments: Number of segments of the cut; the coarsest `MOST_TIPS` are shown.
    """
    walk = selection.walk
    tips = min(num_segments, MOST_TIPS, walk.most_segments)
    order = _tips_in_order(selection, tips)
    row = {node: float(index) for index, node in enumerate(order)}
    height: dict[int, float] = {}
    figure = go.Figure()
    inner = {above for node in order for above in walk.ancestors(node)}
    for node in sorted(inner):  # Children come before their parents.
        children = walk.children(node)
        row[node] = float(np.mean([row[child] for child in children]))
        height[node] = float(walk.tree.altitudes[node])
    top = max(height.values(), default=1.0)
    lowest = min(height.values(), default=0.0)
    lowest -= 0.05 * (top - lowest)  # The tips begin here.
    for node, at in row.items():
        parent = walk.parent(node)
        if parent is None:
            continue
        selected = bool({node, *walk.ancestors(node)} & set(selection.marks.selected))
        start = height.get(node, lowest)
        figure.add_trace(
            go.Scatter(
                x=[start, height[parent], height[parent]],
                y=[at, at, row[parent]],
                mode="lines",
                line={"color": css(colours[node]), "width": 5 if selected else 2},
                hovertext=f"{selection.called(node)}: {walk.sizes[node]:,} Gaussians",
                hoverinfo="text",
                showlegend=False,
            )
        )
    figure.update_layout(
        margin={"l": 4, "r": 4, "t": 4, "b": 30},
        xaxis={"title": "height"},
        yaxis={"visible": False, "autorange": "reversed"},
        plot_bgcolor="white",
    )
    return figure


def css(colour: UInt8[np.ndarray, "3"]) -> str:
    """Write a colour in CSS notation."""
    return f"rgb({colour[0]},{colour[1]},{colour[2]})"


def _tips_in_order(selection: Selection, tips: int) -> list[int]:
    """Segments of a cut, in an order in which no lines of the tree cross."""
    walk, order = selection.walk, []
    segments = set(np.unique(walk.cut(tips)).tolist())
    waiting = [walk.root]
    while waiting:
        node = waiting.pop()
        if node in segments:
            order.append(node)
        else:
            waiting += reversed(walk.children(node))
    return order
