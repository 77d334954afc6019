"""Charts as files and as parts of a page."""

import io
import json
import re
from html import escape
from math import isfinite

from emotion_lightning.report.charts import INK, LINE, SOFT, Chart, Point

THEME = {INK: "var(--ink)", SOFT: "var(--soft)", LINE: "var(--line)"}
"""Colors that a page gives by its theme."""

PNG_DPI = 200


def png(chart: Chart) -> bytes:
    """Draw ``chart`` on white, for papers and slides."""
    buffer = io.BytesIO()
    chart.figure.savefig(buffer, format="png", dpi=PNG_DPI, facecolor="white")
    return buffer.getvalue()


def svg(chart: Chart, name: str) -> str:
    """Write ``chart`` as an element of an HTML page, whose text follows the page's theme.

    What hovering shows is in ``data-points``: a list of x, y and text, in the units of the element's ``viewBox``.

    Args:
        chart: The chart.
        name: Tells it from the other charts of the page.
    """
    from matplotlib import rc_context

    buffer = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        chart.figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    text = re.sub(r' id="[a-z]+_[0-9]+"', "", text)  # no chart refers to these, and every chart has them
    for color, variable in THEME.items():
        text = text.replace(color, variable)
    points = escape(json.dumps(_points(chart), separators=(",", ":"), allow_nan=False), quote=True)
    head, body = text.split(">", 1)
    box = re.search(r'viewBox="[^"]*"', head)
    assert box is not None
    return f'<svg {box[0]} role="img" aria-label="{escape(chart.description)}" data-points="{points}">{body}'


def _points(chart: Chart) -> list[tuple[float, float, str]]:
    figure = chart.figure
    height = figure.get_figheight() * 72
    scale = 72 / figure.dpi

    def place(point: Point) -> tuple[float, float, str]:
        x, y = chart.axes.transData.transform((point.x, point.y))
        return round(float(x) * scale, 1), round(height - float(y) * scale, 1), point.text

    return [place(point) for point in chart.points if isfinite(point.x) and isfinite(point.y)]
