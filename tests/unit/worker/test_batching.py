"""Fairness and budget of the tile queue, by properties."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from worker.batching import BACKGROUND_EVERY, TileQueue

flights = st.lists(st.tuples(st.integers(1, 12), st.sampled_from(["small", "large"])), min_size=1, max_size=8)


def filled(plan: list[tuple[int, str]]) -> TileQueue[int, int]:
    queue: TileQueue[int, int] = TileQueue()
    for flight, (count, group) in enumerate(plan):
        queue.add(flight, [(group, 10, tile) for tile in range(count)])
    return queue


@given(plan=flights, budget_px=st.integers(1, 70))
def test_every_tile_runs_once_in_order_in_its_own_group(plan: list[tuple[int, str]], budget_px: int) -> None:
    queue = filled(plan)
    seen: dict[int, list[int]] = {flight: [] for flight in range(len(plan))}
    while queue:
        assert queue.waiting_px == 10 * (sum(count for count, _ in plan) - sum(map(len, seen.values())))
        batch = queue.next_batch(budget_px)
        assert batch
        assert len(batch) == 1 or 10 * len(batch) <= budget_px
        assert len({plan[flight][1] for flight, _ in batch}) == 1
        for flight, tile in batch:
            seen[flight].append(tile)
    assert seen == {flight: list(range(count)) for flight, (count, _) in enumerate(plan)}
    assert queue.next_batch(budget_px) == []


@given(plan=flights, budget_px=st.integers(1, 70))
def test_nobody_waits_longer_than_a_round(plan: list[tuple[int, str]], budget_px: int) -> None:
    """Between two turns of a flight, every other flight has at most as many turns as there are flights."""
    queue = filled(plan)
    passes_since = Counter(dict.fromkeys(range(len(plan)), 0))
    left = {flight: count for flight, (count, _) in enumerate(plan)}
    while queue:
        served = {flight for flight, _ in queue.next_batch(budget_px)}
        for flight in list(passes_since):
            if flight in served:
                passes_since[flight] = 0
            elif left[flight] > 0:
                passes_since[flight] += 1
                assert passes_since[flight] <= len(plan)
        for flight in served:
            left[flight] = sum(1 for line in queue._foreground if line.flight == flight for _ in line.waiting)


def test_a_single_tile_does_not_wait_for_a_thousand() -> None:
    queue: TileQueue[str, int] = TileQueue()
    queue.add("huge", [("g", 10, tile) for tile in range(1000)])
    queue.next_batch(40)
    queue.add("small", [("g", 10, 0)])
    assert "small" in {flight for flight, _ in queue.next_batch(40)}


def test_a_tile_larger_than_the_budget_runs_alone() -> None:
    queue: TileQueue[str, int] = TileQueue()
    queue.add("a", [("g", 100, 0), ("g", 100, 1)])
    assert queue.next_batch(1) == [("a", 0)]


def test_what_is_discarded_does_not_run() -> None:
    queue: TileQueue[str, int] = TileQueue()
    queue.add("a", [("g", 10, 0)])
    queue.add("b", [("g", 10, 0)])
    queue.discard("a")
    assert queue.waiting_px == 10
    assert queue.next_batch(100) == [("b", 0)]
    assert not queue
    assert queue.waiting_px == 0


@given(
    foreground=st.lists(st.integers(1, 30), min_size=1, max_size=4),
    background=st.lists(st.integers(1, 30), min_size=1, max_size=4),
    budget_px=st.integers(1, 50),
)
def test_the_background_opens_every_fourth_pass(
    foreground: list[int], background: list[int], budget_px: int
) -> None:
    """Neither kind starves, however much the other has."""
    queue: TileQueue[tuple[str, int], int] = TileQueue()
    for kind, counts in (("foreground", foreground), ("background", background)):
        for number, count in enumerate(counts):
            queue.add(
                (kind, number), [("g", 10, tile) for tile in range(count)], background=kind == "background"
            )
    left = {"foreground": sum(foreground), "background": sum(background)}
    opened: list[str] = []
    while queue:
        contested = all(left.values())
        expected = queue.next_flight
        batch = queue.next_batch(budget_px)
        assert batch[0][0] == expected
        if contested:
            opened.append(batch[0][0][0])
        for (kind, _), _ in batch:
            left[kind] -= 1
    assert left == {"foreground": 0, "background": 0}
    for first in range(0, len(opened) - BACKGROUND_EVERY + 1):
        assert opened[first : first + BACKGROUND_EVERY].count("background") == 1


def test_the_background_fills_what_the_foreground_leaves() -> None:
    queue: TileQueue[str, int] = TileQueue()
    queue.add("huge", [("g", 10, tile) for tile in range(100)], background=True)
    queue.add("small", [("g", 10, 0), ("g", 10, 1)])
    assert queue.next_batch(40) == [("small", 0), ("small", 1), ("huge", 0), ("huge", 1)]


def test_what_is_discarded_in_the_background_does_not_run() -> None:
    queue: TileQueue[str, int] = TileQueue()
    queue.add("huge", [("g", 10, 0)], background=True)
    queue.discard("huge")
    assert not queue
