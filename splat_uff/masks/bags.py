"""Masks of many views, read in parallel and held within a memory budget."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from operator import index
from typing import SupportsIndex

from splat_uff.capture.records import View
from splat_uff.masks.records import MaskSet, MaskTree
from splat_uff.masks.tree import build_tree
from splat_uff.system.memory import Kept, Memory
from splat_uff.system.progress import track


@dataclass(frozen=True)
class _Bag:
    count: int
    packed: Kept
    height: int
    width: int
    inside: Kept
    same: Kept


class Bags(Sequence[tuple[MaskSet, MaskTree]]):
    """Masks of each view and their inclusion tree, kept on disk if they exceed the budget."""

    def __init__(self, bags: Sequence[_Bag]) -> None:
        self._bags = bags

    def __len__(self) -> int:
        return len(self._bags)

    def __getitem__(self, view: SupportsIndex) -> tuple[MaskSet, MaskTree]:  # pyright: ignore
        bag = self._bags[index(view)]
        masks = MaskSet(bag.packed.load(), bag.height, bag.width)
        return masks, MaskTree(inside=bag.inside.load(), same=bag.same.load())

    @staticmethod
    def of(
        views: Sequence[View],
        read: Callable[[View], MaskSet],
        *,
        memory: Memory | None = None,
        threads: int = 4,
    ) -> "Bags":
        """Read the masks of every view and build their trees.

        Args:
            views: Views whose masks are read.
            read: Returns the masks of one view.
            memory: Memory budget that the masks count towards; unlimited if None.
            threads: Maximum number of views that are read at a time.
        """
        budget = memory or Memory()

        def gather(view: View) -> _Bag:
            masks = read(view)
            tree = build_tree(masks)
            parts = (masks.packed, tree.inside, tree.same)
            packed, inside, same = (budget.keep(part, pack=True) for part in parts)
            return _Bag(len(masks), packed, masks.height, masks.width, inside, same)

        with ThreadPoolExecutor(min(threads, os.cpu_count() or 1)) as pool:
            return Bags(list(track(pool.map(gather, views), "masks", len(views))))

    @property
    def counts(self) -> list[int]:
        """Number of masks of each view."""
        return [bag.count for bag in self._bags]


def mask_counts(bags: Sequence[tuple[MaskSet, MaskTree]]) -> list[int]:
    """Number of masks of each view."""
    return bags.counts if isinstance(bags, Bags) else [len(masks) for masks, _ in bags]
