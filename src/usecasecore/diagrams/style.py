"""How drawings look: sizes, letters, colours in light and dark, and the style sheet made from them.

Colour is never the only sign: an initial state has an arrow from a dot, a final one a double border, a composite one a
frame, an edge without a use case is dashed and says so, a status has a sign of its own shape and a word.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum

__all__ = ["DARK", "HUES", "LIGHT", "WEIGHTS", "Letters", "style_sheet"]

HUES = 6
"""In how many colours arrows come."""

WEIGHTS = 8
"""In how many thicknesses arrows come that say how often they are taken."""

# Fonts whose widths are those of Arial, or near; none is loaded.
FONTS = '"Segoe UI", "Helvetica Neue", Helvetica, Arial, "Liberation Sans", "Noto Sans", sans-serif'

LIGHT: Mapping[str, str] = {
    "canvas": "#fbfcfe",
    "surface": "#ffffff",
    "frame": "#f0f4f9",
    "hairline": "#cdd6e1",
    "border": "#66768a",
    "text": "#17222e",
    "muted": "#4d5c6e",
    "initial": "#1a5fc4",
    "initial-fill": "#eaf2fe",
    "final": "#6a3fa8",
    "final-fill": "#f4effc",
    "warning": "#865200",
    "good": "#17702f",
    "good-fill": "#e8f6eb",
    "bad": "#b3261e",
    "bad-fill": "#fdeeec",
    "partial": "#865200",
    "partial-fill": "#fdf4e0",
    "accent": "#0b57d0",
    "accent-fill": "#e2edff",
    "meter": "#7fa8e8",
    "hue-0": "#3f5068",
    "hue-1": "#1b60bd",
    "hue-2": "#0b6e66",
    "hue-3": "#8a2f86",
    "hue-4": "#a3431a",
    "hue-5": "#55650f",
}
DARK: Mapping[str, str] = {
    "canvas": "#10151b",
    "surface": "#1b242e",
    "frame": "#161d25",
    "hairline": "#39475a",
    "border": "#8b9bb0",
    "text": "#eaf0f6",
    "muted": "#a9b6c6",
    "initial": "#82b4ff",
    "initial-fill": "#16283f",
    "final": "#c9a8f5",
    "final-fill": "#261d38",
    "warning": "#eab54e",
    "good": "#6fd589",
    "good-fill": "#142a1b",
    "bad": "#ff9a90",
    "bad-fill": "#361a19",
    "partial": "#eab54e",
    "partial-fill": "#30260f",
    "accent": "#8fbcff",
    "accent-fill": "#17304f",
    "meter": "#4878b8",
    "hue-0": "#b7c4d4",
    "hue-1": "#82b4ff",
    "hue-2": "#56d0c0",
    "hue-3": "#e6a0e2",
    "hue-4": "#f5a67f",
    "hue-5": "#c3d065",
}


@dataclass(frozen=True, slots=True)
class _Face:
    size: float
    bold: bool = False
    italic: bool = False
    colour: str = "text"


class Letters(Enum):
    """The kinds of writing in a drawing; the value says how it looks."""

    TITLE = _Face(17, bold=True)
    SUBTITLE = _Face(12, colour="muted")
    NAME = _Face(14, bold=True)
    NOTE = _Face(11, colour="muted")
    TRIGGER = _Face(12.5, bold=True, colour="own")
    GUARD = _Face(11.5, italic=True, colour="muted")
    USE_CASE = _Face(11.5)
    WARNING = _Face(11, bold=True, colour="warning")
    MARK = _Face(12, bold=True, colour="mark")

    @property
    def size(self) -> float:
        """In the drawing's unit."""
        return self.value.size

    @property
    def bold(self) -> bool:
        """Whether it is heavy."""
        return self.value.bold

    @property
    def leading(self) -> float:
        """From one line to the next."""
        return round(self.value.size * 1.36, 1)

    @property
    def css(self) -> str:
        """The class that writes so."""
        return f"uc-{self.name.lower().replace('_', '-')}"


def style_sheet(root: str) -> str:
    """Return the style sheet of a drawing, in lines; it touches nothing outside of elements with the class `root`."""
    return "\n".join(_rules(root))


def _rules(root: str) -> Iterator[str]:
    yield f".{root} {{ {_variables(LIGHT)} font-family: {FONTS}; }}"
    yield f"@media (prefers-color-scheme: dark) {{ .{root} {{ {_variables(DARK)} }} }}"
    yield f"@media (forced-colors: active) {{ .{root} {{ {_variables(_FORCED)} }} }}"
    for letters in Letters:
        yield f".{root} .{letters.css} {{ {' '.join(_lettering(letters.value))} }}"
    for weight in range(1, WEIGHTS + 1):
        yield f".{root} .uc-line.uc-weight-{weight} {{ stroke-width: {1 + 0.7 * weight:g}; }}"
    for hue in range(HUES):
        yield f".{root} .uc-hue-{hue} {{ --uc-own: {_colour(f'hue-{hue}')}; }}"
    for selector, declarations in _RULES.items():
        selectors = ", ".join(f".{root} {one.strip()}" for one in selector.split(","))
        yield f"{selectors} {{ {' '.join(_declared(name, value) for name, value in declarations.items())} }}"


def _variables(palette: Mapping[str, str]) -> str:
    return " ".join(f"--uc-{name}: {value};" for name, value in palette.items())


def _lettering(face: _Face) -> Iterator[str]:
    yield f"font-size: {face.size:g}px;"
    if face.bold:
        yield "font-weight: 600;"
    if face.italic:
        yield "font-style: italic;"
    yield _declared("fill", face.colour)


def _declared(name: str, value: str) -> str:
    """Return a declaration; a colour's twice, for programs that know no variables."""
    if name not in ("fill", "stroke") or value == "none":
        return f"{name}: {value};"
    plain = LIGHT.get(value, LIGHT["border"])
    return f"{name}: {plain}; {name}: {_colour(value)};"


def _colour(name: str) -> str:
    return f"var(--uc-{name})"


# What a reader who chose the colours of the system gets.
_FORCED: Mapping[str, str] = {
    **dict.fromkeys(LIGHT, "CanvasText"),
    **dict.fromkeys((name for name in LIGHT if name.endswith("-fill") or name in ("canvas", "surface", "frame")), "Canvas"),
    **dict.fromkeys(("accent", "meter"), "Highlight"),
}

_RULES: Mapping[str, Mapping[str, str]] = {
    ".uc-canvas": {"fill": "canvas"},
    ".uc-frame": {"fill": "frame", "stroke": "border", "stroke-width": "1.2"},
    ".uc-box": {"fill": "surface", "stroke": "border", "stroke-width": "1.5"},
    ".uc-inner": {"fill": "none", "stroke": "border", "stroke-width": "1.2"},
    ".uc-rule": {"stroke": "hairline", "stroke-width": "1"},
    ".uc-initial .uc-box": {"fill": "initial-fill", "stroke": "initial"},
    ".uc-final .uc-box": {"fill": "final-fill", "stroke": "final"},
    ".uc-final .uc-inner": {"stroke": "final"},
    ".uc-dot": {"fill": "text"},
    ".uc-ring": {"fill": "none", "stroke": "text", "stroke-width": "1.5"},
    ".uc-pill": {"fill": "surface", "stroke": "border", "stroke-width": "1.2", "stroke-dasharray": "2 3"},
    ".uc-line": {"fill": "none", "stroke": "own", "stroke-width": "1.5"},
    ".uc-head": {"fill": "own", "stroke": "own", "stroke-width": "1", "stroke-linejoin": "round"},
    ".uc-hit": {"fill": "none", "stroke": "none", "stroke-width": "12", "pointer-events": "stroke"},
    ".uc-plain": {"--uc-own": "var(--uc-border)"},
    ".uc-unbound .uc-line": {"stroke-dasharray": "6 4"},
    ".uc-label": {"stroke": "canvas", "stroke-width": "3.5", "stroke-linejoin": "round", "paint-order": "stroke"},
    ".uc-framed": {"stroke": "frame"},
    ".uc-row": {"fill": "none", "pointer-events": "all"},
    ".uc-icon": {"fill": "muted"},
    ".uc-icon-warning": {"fill": "warning"},
    ".uc-step": {"fill": "accent"},
    ".uc-step-number": {"fill": "canvas", "font-size": "11px", "font-weight": "600"},
    ".uc-meter": {"fill": "meter"},
    ".uc-meter-ground": {"fill": "hairline"},
    ".uc-middle": {"text-anchor": "middle"},
    ".uc-state, .uc-edge": {"--uc-mark": "var(--uc-text)"},
    ".uc-status-good": {"--uc-mark": "var(--uc-good)"},
    ".uc-status-partial": {"--uc-mark": "var(--uc-partial)"},
    ".uc-status-bad": {"--uc-mark": "var(--uc-bad)"},
    ".uc-status-current, .uc-status-taken": {"--uc-mark": "var(--uc-accent)"},
    ".uc-status-untaken": {"--uc-mark": "var(--uc-muted)"},
    ".uc-sign": {"fill": "mark"},
    ".uc-state.uc-status-good .uc-box, .uc-state.uc-status-good .uc-inner": {"fill": "good-fill", "stroke": "good"},
    ".uc-state.uc-status-partial .uc-box, .uc-state.uc-status-partial .uc-inner": {"fill": "partial-fill", "stroke": "partial"},
    ".uc-state.uc-status-bad .uc-box, .uc-state.uc-status-bad .uc-inner": {"fill": "bad-fill", "stroke": "bad"},
    ".uc-state.uc-status-taken .uc-box, .uc-state.uc-status-taken .uc-inner": {"fill": "accent-fill", "stroke": "accent"},
    ".uc-state.uc-status-current .uc-box": {"fill": "accent-fill", "stroke": "accent", "stroke-width": "3.5"},
    ".uc-state.uc-status-current .uc-inner": {"stroke": "accent"},
    ".uc-state.uc-status-untaken .uc-box": {
        "fill": "canvas",
        "stroke": "border",
        "stroke-width": "1.2",
        "stroke-dasharray": "3 3",
    },
    ".uc-state.uc-status-untaken .uc-inner": {"fill": "none", "stroke": "border", "stroke-dasharray": "3 3"},
    ".uc-state.uc-status-untaken .uc-name": {"fill": "muted"},
    ".uc-edge.uc-status-good, .uc-edge.uc-status-partial, .uc-edge.uc-status-bad": {"--uc-own": "var(--uc-mark)"},
    ".uc-edge.uc-status-taken": {"--uc-own": "var(--uc-mark)"},
    ".uc-edge.uc-status-untaken": {"--uc-own": "var(--uc-muted)"},
    ".uc-edge.uc-status-untaken .uc-line": {"stroke-width": "1.2", "stroke-dasharray": "1.5 3.5"},
    # The reader points at a state or moves to it with the keyboard: it and what leads out of it stand out.
    "g[tabindex]": {"outline": "none"},
    ".uc-state:hover ~ .uc-edge .uc-line, .uc-state:focus ~ .uc-edge .uc-line": {"stroke-width": "3"},
    ".uc-edge:hover .uc-line, .uc-edge:focus .uc-line": {"stroke-width": "3"},
    ".uc-state:focus .uc-box, .uc-state:focus .uc-frame": {"stroke": "accent", "stroke-width": "3"},
    ".uc-edge:focus .uc-trigger, .uc-edge:focus .uc-use-case": {"text-decoration": "underline"},
}
