"""A layered drawing of boxes and the links between them, from top to bottom.

The usual four steps (Sugiyama): ranks by the longest path, long links cut at every rank they pass, an order in each
rank with few crossings, then places that keep links straight. Equal graphs give equal drawings.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Final

import attrs

RANK_GAP: Final = 52.0
BOX_GAP: Final = 28.0
LINK_GAP: Final = 18.0
SWEEPS: Final = 12


@attrs.frozen
class Box:
    """The size of something to be drawn."""

    width: float
    height: float


@attrs.frozen
class Link:
    """From the lower edge of one box to the upper edge of another; `leave` and `enter` count from the left edges."""

    source: str
    leave: float
    target: str
    enter: float


@attrs.frozen
class Route:
    """What a link passes: pairs of (x, y) between which it bends, alternating with pairs where it is straight."""

    points: tuple[tuple[float, float], ...]

    def path(self) -> str:
        """The data of an SVG path: straight down inside a rank, an S between ranks."""
        (x, y), *rest = self.points
        parts = [f"M{x:.1f} {y:.1f}"]
        for number, (to_x, to_y) in enumerate(rest):
            middle = (y + to_y) / 2
            bend = f"C{x:.1f} {middle:.1f} {to_x:.1f} {middle:.1f} {to_x:.1f} {to_y:.1f}"
            parts.append(bend if number % 2 else f"V{to_y:.1f}")
            x, y = to_x, to_y
        return "".join(parts)


@attrs.frozen
class Layout:
    """Where the upper left corner of each box is, and the route of each link, in the order of the links."""

    width: float
    height: float
    places: dict[str, tuple[float, float]]
    routes: tuple[Route, ...]


@attrs.define(eq=False)
class _Cell:
    """A box, or the place where a link passes a rank (of width 0)."""

    rank: int
    width: float = 0
    x: float = 0
    above: list[tuple[_Cell, float, float]] = attrs.field(factory=list, repr=False)
    below: list[tuple[_Cell, float, float]] = attrs.field(factory=list, repr=False)
    """Neighbours: (cell, where the link meets it, where the link meets this cell), from the left edges."""


def arrange(boxes: Mapping[str, Box], links: Sequence[Link]) -> Layout:
    """Place boxes; every link leads to a box that stands later in the mapping."""
    ranks = _ranks(boxes, links)
    cells = {name: _Cell(ranks[name], box.width) for name, box in boxes.items()}
    layers: list[list[_Cell]] = [[] for _ in range(max(ranks.values(), default=-1) + 1)]
    for cell in cells.values():
        layers[cell.rank].append(cell)
    chains = _connect(cells, links, layers)
    _order(layers)
    _spread(layers)
    left = min((cell.x for layer in layers for cell in layer), default=0)
    width = max((cell.x + cell.width for layer in layers for cell in layer), default=left) - left
    heights = [0.0] * len(layers)
    for name, box in boxes.items():
        heights[ranks[name]] = max(heights[ranks[name]], box.height)
    tops = [top + RANK_GAP * rank for rank, top in enumerate(accumulate([0, *heights[:-1]]))]
    fed = {link.target for link in links}
    places = {}
    for name, box in boxes.items():
        rank = ranks[name]
        sunk = 0 if name in fed else heights[rank] - box.height  # what nothing feeds hangs low, near its reader
        places[name] = (cells[name].x - left, tops[rank] + sunk)
    routes = []
    for link, chain in zip(links, chains, strict=True):
        x, y = places[link.source]
        points = [(x + link.leave, y + boxes[link.source].height)]
        points.append((x + link.leave, tops[ranks[link.source]] + heights[ranks[link.source]]))
        for cell in chain:
            points += [(cell.x - left, tops[cell.rank]), (cell.x - left, tops[cell.rank] + heights[cell.rank])]
        x, y = places[link.target]
        routes.append(Route((*points, (x + link.enter, y))))
    return Layout(width, (tops[-1] + heights[-1]) if layers else 0, places, tuple(routes))


def _ranks(boxes: Iterable[str], links: Iterable[Link]) -> dict[str, int]:
    """The longest way to a box; a box that nothing feeds stands right above the first that reads it."""
    feeds: dict[str, list[str]] = {name: [] for name in boxes}
    reads: dict[str, list[str]] = {name: [] for name in boxes}
    for link in links:
        feeds[link.target].append(link.source)
        reads[link.source].append(link.target)
    ranks: dict[str, int] = {}
    for name in boxes:
        ranks[name] = max((ranks[source] + 1 for source in feeds[name]), default=0)
    for name in boxes:
        if not feeds[name] and reads[name]:
            ranks[name] = min(ranks[target] for target in reads[name]) - 1
    return ranks


def _connect(cells: Mapping[str, _Cell], links: Iterable[Link], layers: list[list[_Cell]]) -> list[list[_Cell]]:
    """Make neighbours of linked cells; returns the cells that each link passes. Links of one port share them."""
    passes: dict[tuple[str, float, int], _Cell] = {}
    chains = []
    for link in links:
        chain = []
        upper, leave = cells[link.source], link.leave
        for rank in range(upper.rank + 1, cells[link.target].rank):
            key = (link.source, link.leave, rank)
            if key not in passes:
                passes[key] = _Cell(rank)
                layers[rank].append(passes[key])
                _join(upper, leave, passes[key], 0)
            chain.append(passes[key])
            upper, leave = passes[key], 0
        _join(upper, leave, cells[link.target], link.enter)
        chains.append(chain)
    return chains


def _join(upper: _Cell, leave: float, lower: _Cell, enter: float) -> None:
    upper.below.append((lower, enter, leave))
    lower.above.append((upper, leave, enter))


def _order(layers: list[list[_Cell]]) -> None:
    """Sort each layer by where its neighbours stand, downwards and upwards in turn; the best order seen is kept."""
    best, fewest = [list(layer) for layer in layers], _crossings(layers)
    for sweep in range(SWEEPS):
        if not fewest:
            break
        for layer, other in zip(*_passed(layers, sweep), strict=True):
            at = {id(cell): index for index, cell in enumerate(other)}
            upwards = sweep % 2 == 1
            keys = {}
            for index, cell in enumerate(layer):
                near = cell.below if upwards else cell.above
                spots = [at[id(n)] + (met / n.width if n.width else 0.5) for n, met, _ in near]
                keys[id(cell)] = sum(spots) / len(spots) if spots else float(index)
            layer.sort(key=lambda cell: keys[id(cell)])
        crossings = _crossings(layers)
        if crossings < fewest:
            best, fewest = [list(layer) for layer in layers], crossings
    for layer, kept in zip(layers, best, strict=True):
        layer[:] = kept


def _passed(layers: list[list[_Cell]], sweep: int) -> tuple[list[list[_Cell]], list[list[_Cell]]]:
    """The layers in the order of a sweep, and beside each the one that it looks at."""
    return (layers[-2::-1], layers[:0:-1]) if sweep % 2 else (layers[1:], layers[:-1])


def _crossings(layers: list[list[_Cell]]) -> int:
    count = 0
    for upper, lower in pairwise(layers):
        at = {id(cell): index for index, cell in enumerate(lower)}
        ends: list[tuple[int, float]] = []
        for cell in upper:
            for _, target in sorted((leave, (at[id(n)], enter)) for n, enter, leave in cell.below):
                count += len(ends) - bisect_right(ends, target)
                insort(ends, target)
    return count


def _spread(layers: list[list[_Cell]]) -> None:
    """Give each cell its x: as near to its neighbours as the others of its layer let it."""
    for layer in layers:
        _place(layer, [0.0] * len(layer), [1.0] * len(layer))
    for sweep in range(SWEEPS):
        for layer in layers if sweep % 2 == 0 else reversed(layers):
            wanted, weights = [], []
            for cell in layer:
                near = cell.above + cell.below if sweep >= SWEEPS - 2 else cell.below if sweep % 2 else cell.above
                spots = [n.x + met - own for n, met, own in near]
                wanted.append(sum(spots) / len(spots) if spots else cell.x)
                weights.append((1.0 if cell.width else 4.0) * max(len(spots), 0.1))  # long links want to be straight
            _place(layer, wanted, weights)


def _place(layer: list[_Cell], wanted: list[float], weights: list[float]) -> None:
    """The places nearest to the wanted ones (least squares) that keep order and distance: pool adjacent violators."""
    offsets = [0.0]
    for cell, after in pairwise(layer):
        offsets.append(offsets[-1] + cell.width + (BOX_GAP if cell.width or after.width else LINK_GAP))
    pools: list[tuple[float, float, int]] = []  # (mean, weight, cells)
    for want, weight, offset in zip(wanted, weights, offsets, strict=False):
        mean, total, size = want - offset, weight, 1
        while pools and pools[-1][0] > mean:
            left, left_total, left_size = pools.pop()
            mean = (left * left_total + mean * total) / (left_total + total)
            total, size = total + left_total, size + left_size
        pools.append((mean, total, size))
    means = [mean for mean, _, size in pools for _ in range(size)]
    for cell, mean, offset in zip(layer, means, offsets, strict=False):
        cell.x = mean + offset
