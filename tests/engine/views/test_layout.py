"""The layered layout: nothing overlaps, links lead down, equal graphs are drawn alike."""

from __future__ import annotations

import random

import pytest

from stagegraph.views.layout import RANK_GAP, Box, Layout, Link, arrange


def random_graph(seed: int, size: int = 30) -> tuple[dict[str, Box], list[Link]]:
    """Boxes of several sizes, most of them linked to several earlier ones."""
    choose = random.Random(seed)
    boxes = {f"b{i}": Box(choose.randint(40, 200), choose.randint(20, 150)) for i in range(size)}
    links = []
    for i in range(1, size):
        for source in choose.sample(range(i), min(i, choose.randint(0, 3))):
            upper, lower = boxes[f"b{source}"], boxes[f"b{i}"]
            links.append(Link(f"b{source}", upper.width / 2, f"b{i}", choose.uniform(0, lower.width)))
    return boxes, links


def overlapping(boxes: dict[str, Box], layout: Layout) -> list[tuple[str, str]]:
    """Pairs of boxes that share an area."""

    def apart(a: str, b: str) -> bool:
        (ax, ay), (bx, by) = layout.places[a], layout.places[b]
        beside = ax + boxes[a].width <= bx or bx + boxes[b].width <= ax
        return beside or ay + boxes[a].height <= by or by + boxes[b].height <= ay

    return [(a, b) for a in boxes for b in boxes if a < b and not apart(a, b)]


@pytest.mark.parametrize("seed", range(12))
def test_boxes_do_not_overlap_and_links_lead_down(seed: int) -> None:
    """Also where a link passes ranks: it never goes up, and it meets both its ports."""
    boxes, links = random_graph(seed)
    layout = arrange(boxes, links)
    assert overlapping(boxes, layout) == []
    for link, route in zip(links, layout.routes, strict=True):
        heights = [y for _, y in route.points]
        assert heights == sorted(heights)
        (x, y), (to_x, to_y) = layout.places[link.source], layout.places[link.target]
        assert route.points[0] == (x + link.leave, y + boxes[link.source].height)
        assert route.points[-1] == (to_x + link.enter, to_y)
    for name, (x, y) in layout.places.items():
        assert 0 <= x <= layout.width - boxes[name].width + 1e-6
        assert 0 <= y <= layout.height - boxes[name].height + 1e-6


@pytest.mark.parametrize("seed", range(6))
def test_links_pass_between_boxes(seed: int) -> None:
    """The straight parts of a long link, inside the ranks, cut no box."""
    boxes, links = random_graph(seed)
    layout = arrange(boxes, links)
    for route in layout.routes:
        for x, top in route.points[2:-1]:
            for name, (left, upper) in layout.places.items():
                inside = left < x < left + boxes[name].width and upper < top < upper + boxes[name].height
                assert not inside, name


def test_a_chain_is_a_straight_line() -> None:
    """Boxes of different widths, linked in their middles."""
    boxes = {f"b{i}": Box(100 + 20 * i, 40) for i in range(4)}
    links = [Link(f"b{i}", boxes[f"b{i}"].width / 2, f"b{i + 1}", boxes[f"b{i + 1}"].width / 2) for i in range(3)]
    layout = arrange(boxes, links)
    middles = [x + boxes[name].width / 2 for name, (x, _) in layout.places.items()]
    assert middles == pytest.approx([80.0] * 4, abs=0.5)
    assert [y for _, y in layout.places.values()] == [i * (40 + RANK_GAP) for i in range(4)]
    assert layout.routes[0].path() == "M80.0 40.0V40.0C80.0 66.0 80.0 66.0 80.0 92.0"


def test_crossings_that_can_be_avoided_are_avoided() -> None:
    """Two pairs written crosswise."""
    boxes = {name: Box(50, 20) for name in ("a", "b", "c", "d")}
    layout = arrange(boxes, [Link("a", 25, "d", 25), Link("b", 25, "c", 25)])
    x = {name: place[0] for name, place in layout.places.items()}
    assert (x["a"] < x["b"]) == (x["d"] < x["c"])


def test_what_nothing_feeds_stands_above_its_first_reader() -> None:
    """Not at the top of a long graph."""
    boxes = {name: Box(50, 20) for name in ("a", "late", "b", "c")}
    links = [Link("a", 25, "b", 25), Link("b", 25, "c", 10), Link("late", 25, "c", 40)]
    places = arrange(boxes, links).places
    assert places["late"][1] == places["b"][1]


def test_equal_graphs_are_drawn_alike_and_nothing_is_drawn_too() -> None:
    """No chance, no order of sets."""
    assert arrange(*random_graph(1)) == arrange(*random_graph(1))
    assert arrange({}, []) == Layout(0, 0, {}, ())


def test_long_chains_are_drawn() -> None:
    """800 nodes in a row, with an input that all of them read: no recursion."""
    boxes = {f"b{i}": Box(100, 40) for i in range(800)}
    links = [Link(f"b{i}", 50, f"b{i + 1}", 30) for i in range(799)]
    links += [Link("b0", 80, f"b{i}", 70) for i in range(2, 800)]
    layout = arrange(boxes, links)
    assert layout.height == 800 * 40 + 799 * RANK_GAP
