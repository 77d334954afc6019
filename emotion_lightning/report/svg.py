"""Charts as files and as parts of a page."""

import io
from xml.etree import ElementTree

from emotion_lightning.report.chart import INK, LINE, SOFT, Chart
from emotion_lightning.runtime.fonts import without_boxes

THEME = {INK: "var(--ink)", SOFT: "var(--soft)", LINE: "var(--line)"}
"""Colors that a page gives by its theme."""

PNG_DPI = 200
SVG = "http://www.w3.org/2000/svg"
ElementTree.register_namespace("", SVG)
ElementTree.register_namespace("xlink", "http://www.w3.org/1999/xlink")  # the prefix that browsers know in a page


def png(chart: Chart) -> bytes:
    """Draw ``chart`` on white, for papers and slides."""
    buffer = io.BytesIO()
    with without_boxes(chart.figure):
        chart.figure.savefig(buffer, format="png", dpi=PNG_DPI, facecolor="white")
    return buffer.getvalue()


def svg(chart: Chart, name: str) -> str:
    """Write ``chart`` as an element of an HTML page, which follows the page's theme and shows its tips on hovering.

    Args:
        chart: The chart.
        name: Tells it from the other charts of the page.
    """
    from matplotlib import rc_context

    buffer = io.BytesIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": name}), without_boxes(chart.figure):
        chart.figure.savefig(buffer, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    root = ElementTree.fromstring(buffer.getvalue())
    root.attrib = {"viewBox": root.attrib["viewBox"], "role": "img", "aria-label": chart.description}
    for element in root.iter():
        for color, variable in THEME.items():
            if style := element.get("style"):
                element.set("style", style.replace(color, variable))
        if element.tag == f"{{{SVG}}}g":  # matplotlib's own ids are the same in every chart, and nothing refers to them
            texts = chart.tips.get(element.attrib.pop("id", ""), ())
            markers = element.findall(f".//{{{SVG}}}use") or [element]
            for marker, text in zip(markers, texts, strict=False):
                marker.set("class", "tip")
                ElementTree.SubElement(marker, f"{{{SVG}}}title").text = text
    return ElementTree.tostring(root, encoding="unicode")
