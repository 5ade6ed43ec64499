"""Draws the pictures of the documentation: `drawings.py` writes them, `drawings.py --check` compares.

Each picture is an SVG for light pages and one for dark ones, on a panel of its own, so that it can be read on either.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

ASSETS = Path(__file__).parent.parent / "docs" / "assets"
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"


@dataclass(frozen=True)
class Palette:
    """The colours of a picture."""

    panel: str
    ink: str
    faint: str
    down: str
    up: str
    tiers: tuple[str, ...]
    on_tier: str


LIGHT = Palette(
    "#f7f8fc", "#1f2430", "#566073", "#8a4b08", "#1b6e3c", ("#c5cdf5", "#b9e0ee", "#c9e7cf", "#f4dcc0"), "#1f2430"
)
DARK = Palette(
    "#1b1f2a", "#e6e9f2", "#a3acc0", "#f0b26b", "#7fd6a0", ("#3d4a8f", "#27637a", "#2f6b45", "#7a5226"), "#f4f6fb"
)


@dataclass
class Canvas:
    """Shapes, collected, and written as one SVG."""

    width: int
    height: int
    title: str
    palette: Palette
    shapes: list[str] = field(default_factory=list)

    def box(self, x: float, y: float, width: float, height: float, fill: str) -> None:
        self.shapes.append(f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="9" fill="{fill}"/>')

    def text(
        self, x: float, y: float, said: str, *, size: int = 15, fill: str = "", weight: int = 400, anchor: str = "start"
    ) -> None:
        colour = fill or self.palette.ink
        self.shapes.append(
            f'<text x="{x}" y="{y}" font-size="{size}" font-weight="{weight}" text-anchor="{anchor}" fill="{colour}">'
            f"{escape(said)}</text>"
        )

    def arrow(self, points: list[tuple[float, float]], colour: str, *, head: bool = True, dash: bool = False) -> None:
        path = " L".join(f"{x} {y}" for x, y in points)
        mark = f' marker-end="url(#{"down" if colour == self.palette.down else "up"})"' if head else ""
        dashes = ' stroke-dasharray="6 5"' if dash else ""
        self.shapes.append(f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2.2"{dashes}{mark}/>')

    def svg(self) -> str:
        heads = "".join(
            f'<marker id="{name}" viewBox="0 0 10 10" refX="8.5" refY="5" markerWidth="7" markerHeight="7" '
            f'orient="auto"><path d="M0 0 10 5 0 10z" fill="{colour}"/></marker>'
            for name, colour in (("down", self.palette.down), ("up", self.palette.up))
        )
        return "\n".join(
            [
                f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" role="img" '
                f'font-family="{FONT}"><title>{escape(self.title)}</title>',
                f"<defs>{heads}</defs>",
                f'<rect width="{self.width}" height="{self.height}" rx="14" fill="{self.palette.panel}"/>',
                *self.shapes,
                "</svg>\n",
            ]
        )


def chain(palette: Palette) -> Canvas:
    """The picture of the home page: tiers in a row, asked from left to right, answers copied back."""
    canvas = Canvas(960, 236, "A chain: memory, disk, Redis and an object store are asked in turn", palette)
    tiers = [
        ("memory", "this process", "0.5 µs"),
        ("Redis", "these machines", "0.2 ms"),
        ("object store", "everybody, for months", "10 ms"),
        ("the model", "money", "seconds"),
    ]
    canvas.text(28, 34, "asked in this order, until one knows the answer", size=15, fill=palette.down)
    canvas.arrow([(430, 29), (932, 29)], palette.down)
    for number, (name, whose, time) in enumerate(tiers):
        x = 28 + number * 232
        canvas.box(x, 56, 208, 104, palette.tiers[number])
        canvas.text(x + 104, 92, name, size=20, weight=650, anchor="middle", fill=palette.on_tier)
        canvas.text(x + 104, 118, whose, size=14, anchor="middle", fill=palette.on_tier)
        canvas.text(x + 104, 142, time, size=14, anchor="middle", fill=palette.on_tier)
    canvas.arrow([(932, 190), (560, 190)], palette.up)
    canvas.text(28, 195, "and the answer is copied into the faster tiers on its way back", size=15, fill=palette.up)
    canvas.text(28, 220, "Any tier may be left out, any may be down.", size=13, fill=palette.faint)
    return canvas


ROWS = (
    (
        "memory",
        "0.5 µs, in the caller's thread",
        ("found, not past its ttl: the answer, before any flow starts",),
    ),
    (
        "Redis",
        "about 0.2 ms; 0.1 s at most",
        (
            "asked if its breaker is closed, and it is believed: it missed no change",
            "a hit: magic, tag and key are right; not past its ttl; not older than",
            "a mark of its namespace or tags, or than a tombstone",
        ),
    ),
    (
        "object store",
        "about 10 ms; 2 s at most",
        (
            "the same questions, one request",
            "whatever fails here costs its deadline once, is counted, and is a miss",
        ),
    ),
    (
        "factory",
        "get_or_set: seconds, money",
        (
            "once for all who ask meanwhile: threads, tasks, loops;",
            "with a lease, for all processes",
        ),
    ),
)


def read(palette: Palette) -> Canvas:
    """The picture of a read: down on the left, what each tier is asked in the middle, back up on the right."""
    canvas = Canvas(980, 652, "How a read travels down the tiers, and its answer back up", palette)
    canvas.text(44, 44, "cache.get_or_set(key, factory)", size=18, weight=650)
    canvas.text(936, 44, "value", size=18, weight=650, anchor="end")
    for number, (name, time, said) in enumerate(ROWS):
        y = 84 + number * 140
        canvas.box(44, y, 240, 98, palette.tiers[number])
        canvas.text(60, y + 42, name, size=20, weight=650, fill=palette.on_tier)
        canvas.text(60, y + 70, time, size=14, fill=palette.on_tier)
        first = y + 44 - 10 * (len(said) - 1)
        for line, words in enumerate(said):
            canvas.text(306, first + 21 * line, words, size=14, fill=palette.faint)
        canvas.arrow([(84, y - (26 if number == 0 else 42)), (84, y - 3)], palette.down)
        if number:
            canvas.text(98, y - 16, "miss", size=14, fill=palette.down)
        canvas.arrow([(830, y + 38), (914, y + 38)], palette.up, head=False)
        canvas.text(870, y + 30, "hit" if number < 3 else "made", size=14, fill=palette.up, anchor="middle")
    canvas.arrow([(914, 84 + 3 * 140 + 38), (914, 56)], palette.up)
    for number in range(3):
        y = 84 + number * 140 + 86
        canvas.arrow([(914, y), (288, y)], palette.up, dash=True)
    canvas.text(
        44,
        630,
        "dashed: copied up, unless the key was changed meanwhile, here or in another process",
        size=14,
        fill=palette.up,
    )
    return canvas


PICTURES: dict[str, Callable[[Palette], Canvas]] = {"chain": chain, "read": read}


def drawn() -> dict[Path, str]:
    """Every file, and what is in it."""
    palettes = {"light": LIGHT, "dark": DARK}
    return {
        ASSETS / f"{name}-{shade}.svg": draw(palette).svg()
        for name, draw in PICTURES.items()
        for shade, palette in palettes.items()
    }


def main() -> int:
    old = [path for path, text in drawn().items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    if "--check" in sys.argv:
        for path in old:
            print(f"{path.name} is not as it is drawn now: python scripts/drawings.py")
        return bool(old)
    for path in old:
        path.write_text(drawn()[path], encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
