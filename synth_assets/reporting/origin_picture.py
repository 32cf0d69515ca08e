"""The graph of tables as boxes and lines to draw.

In: places in pixels. Out: what the graph is (`origin_data`), and the drawing itself (the template).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from synth_assets.reporting.origin_data import Origin, levels

BOX_WIDTH, BOX_HEIGHT = 142, 32
COLUMN_WIDTH, ROW_HEIGHT = 168, 40


@dataclass(frozen=True)
class Box:
    """One node; `x` and `y` are its upper left corner."""

    name: str
    x: int
    y: int
    is_root: bool

    @property
    def group(self) -> str:
        """What stands before the last point of the name: the schema of a table."""
        return self.name.rpartition(".")[0]

    @property
    def label(self) -> str:
        """What stands behind it."""
        return self.name.rpartition(".")[2]


@dataclass(frozen=True)
class OriginPicture:
    """`lines` are paths in SVG's notation, from the right of a parent to the left of what is made from it."""

    width: int
    height: int
    boxes: list[Box]
    lines: list[str]


def origin_picture(origins: Sequence[Origin]) -> OriginPicture:
    """A column for each level, parents to the left; nodes of a column stand near the mean height of their parents."""
    columns: dict[int, list[Origin]] = {}
    for origin in origins:
        columns.setdefault(levels(origins)[origin.name], []).append(origin)
    tallest = max(map(len, columns.values()), default=0)
    boxes: dict[str, Box] = {}
    for level, column in sorted(columns.items()):
        top = (tallest - len(column)) * ROW_HEIGHT // 2
        for place, origin in enumerate(sorted(column, key=lambda origin: (_height(origin, boxes), origin.name))):
            boxes[origin.name] = Box(origin.name, level * COLUMN_WIDTH, top + place * ROW_HEIGHT, origin.is_root)
    lines = [
        _line(boxes[parent], boxes[origin.name]) for origin in origins for parent in origin.parents if parent in boxes
    ]
    width = (len(columns) - 1) * COLUMN_WIDTH + BOX_WIDTH
    return OriginPicture(width, tallest * ROW_HEIGHT, list(boxes.values()), lines)


def _height(origin: Origin, boxes: dict[str, Box]) -> float:
    places = [boxes[parent].y for parent in origin.parents if parent in boxes]
    return sum(places) / len(places) if places else 0.0


def _line(parent: Box, child: Box) -> str:
    start_x, start_y = parent.x + BOX_WIDTH, parent.y + BOX_HEIGHT // 2
    end_x, end_y = child.x, child.y + BOX_HEIGHT // 2
    bend = (COLUMN_WIDTH - BOX_WIDTH) // 2 + (end_x - start_x) // 4
    return f"M{start_x} {start_y}C{start_x + bend} {start_y} {end_x - bend} {end_y} {end_x} {end_y}"
