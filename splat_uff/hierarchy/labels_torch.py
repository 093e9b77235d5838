"""Label maps from votes in torch's operations, on any device."""

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from splat_uff.hierarchy.votes import Votes

AT_ONCE = 2**23
"""Most votes counted at once, to bound memory."""


def count_votes_by_torch(
    votes: Votes,
    party: Int[np.ndarray, "N"],
    parties: Int[np.ndarray, "K A"],
    *,
    at_once: int = AT_ONCE,
) -> Int[np.ndarray, "K P"]:
    """Label of each of P pixels in K labellings, by the most votes; 0 for uncovered pixels.

    Among labels with equal votes, the first one wins. Votes are summed in 64 bits.

    Args:
        votes: Votes of a view, counted on `votes.device`.
        party: Party of each Gaussian.
        parties: Label of each party in each labelling, at least 0.
        at_once: Most votes counted at once.
    """
    covered = votes.covered.ravel()
    device = votes.device
    of_voter = torch.from_numpy(party.astype(np.int64)).to(device)
    labels = torch.from_numpy(parties.astype(np.int64)).to(device)
    maps = torch.zeros(len(parties), len(covered), dtype=torch.int32, device=device)
    total = max(1, int(votes.starts[-1]))
    bounds = np.unique(np.searchsorted(votes.starts, np.arange(0, total, at_once))).tolist()
    for first, last in zip(bounds, [*bounds[1:], len(covered)], strict=True):
        begin, end = int(votes.starts[first]), int(votes.starts[last])
        lengths = torch.from_numpy(np.diff(votes.starts[first : last + 1]).astype(np.int64))
        pixel = torch.repeat_interleave(torch.arange(first, last), lengths).to(device)
        voter = torch.from_numpy(votes.voters[begin:end].astype(np.int64)).to(device)
        weight = torch.from_numpy(votes.weights[begin:end]).to(device).double()
        place = torch.arange(end - begin, device=device)
        bloc = _summed(pixel, of_voter[voter], weight, place, labels.shape[1])
        for number, names in enumerate(labels):
            pixel, name, weight, place = bloc
            _elect(_summed(pixel, names[name], weight, place, int(names.max()) + 1), maps[number])
    return (maps * torch.from_numpy(covered).to(device)).cpu().numpy()


def _summed(
    pixel: Int[Tensor, "E"],
    name: Int[Tensor, "E"],
    weight: Float[Tensor, "E"],
    place: Int[Tensor, "E"],
    names: int,
) -> tuple[Int[Tensor, "G"], Int[Tensor, "G"], Float[Tensor, "G"], Int[Tensor, "G"]]:
    """Add up the votes of a pixel for the same name, one of `names`; the first place remains."""
    keys, group = torch.unique(pixel * names + name, return_inverse=True)
    total = weight.new_zeros(len(keys)).index_add_(0, group, weight)
    first = place.new_full((len(keys),), torch.iinfo(place.dtype).max)
    first.scatter_reduce_(0, group, place, "amin")
    return keys // names, keys % names, total, first


def _elect(
    tally: tuple[Int[Tensor, "G"], Int[Tensor, "G"], Float[Tensor, "G"], Int[Tensor, "G"]],
    elected: Int[Tensor, "P"],
) -> None:
    """Write the name with the most votes of each pixel, and among these of the first place."""
    pixel, name, total, first = tally
    most = total.new_zeros(len(elected)).scatter_reduce_(0, pixel, total, "amax")
    best = total == most[pixel]
    pixel, name, first = pixel[best], name[best], first[best]
    front = first.new_full((len(elected),), torch.iinfo(first.dtype).max)
    front.scatter_reduce_(0, pixel, first, "amin")
    best = first == front[pixel]
    elected[pixel[best]] = name[best].to(elected.dtype)
