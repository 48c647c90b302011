from pathlib import Path

import pytest

from tests.support.prefixes import MovedClock, TestNode, a_node, a_top, joined


@pytest.fixture
def clock() -> MovedClock:
    return MovedClock()


@pytest.fixture
def top(tmp_path: Path, clock: MovedClock) -> TestNode:
    return a_top(tmp_path, clock)


@pytest.fixture
def park(tmp_path: Path, clock: MovedClock, top: TestNode) -> TestNode:
    node = a_node(tmp_path, "park", clock)
    joined(top, node, "88.107")
    return node


@pytest.fixture
def plant(tmp_path: Path, clock: MovedClock) -> TestNode:
    """A node that has not joined anybody."""
    return a_node(tmp_path, "plant", clock)
