"""The dashboard's panels: their queries, and a picture of them as SVG, where gridPos puts them."""

import json
import math
import time
from xml.sax.saxutils import escape

COLUMN, UNIT, GAP, TOP = 64, 30, 8, 56
COLOURS = ["#3274d9", "#56a64b", "#e0752d", "#c4162a", "#8f3bb8", "#1f9e9e", "#b5930a",
           "#e0559a", "#6c7a89", "#7eb26d"]
NAMED = {"green": "#2f9e44", "orange": "#e8890c", "red": "#d6293e", "blue": "#3274d9"}
VARIABLES = {"$__rate_interval": "15s", "$__range": "5m", "$job": ".*", "$instance": ".*", "$book": ".*"}
POINTS = 90


def everything(dashboard):
    return json.loads(dashboard.read_text())["panels"]


def panels(dashboard):
    return [panel for panel in everything(dashboard) if panel["type"] != "row"]


def concrete(query):
    """A panel's query with its variables replaced, for a server that is scraped every second."""
    for name, value in VARIABLES.items():
        query = query.replace(name, value)
    return query


def shown(value, unit):
    """A value as the dashboard writes it."""
    if unit == "percentunit":
        return f"{value * 100:.4g} %"
    if unit == "s":
        return f"{value * 1000:.3g} ms" if value < 1 else f"{value:.3g} s"
    scales = [(1e9, "G"), (1e6, "M"), (1e3, "k")] if unit == "decbytes" or value >= 10_000 else []
    ends = {"reqps": " req/s", "ops": "/s"}.get(unit, "")
    for scale, letter in scales:
        if abs(value) >= scale:
            return f"{value / scale:.3g} {letter}{'B' if unit == 'decbytes' else ends}"
    words = f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return f"{words}{' B' if unit == 'decbytes' else ends}"


def nice(largest):
    """The end of an axis: 1, 2, 4, 5 or 10 times a power of ten."""
    power = 10 ** math.floor(math.log10(largest))
    return next(step * power for step in (1, 2, 4, 5, 10) if step * power >= largest * 0.999)


def text(x, y, words, size=11, colour="#3b4450", anchor="start", weight="normal"):
    return (f'<text x="{x:.0f}" y="{y:.0f}" font-size="{size}" fill="{colour}" text-anchor="{anchor}" '
            f'font-weight="{weight}">{escape(str(words))}</text>')


def named(target, labels):
    legend = target.get("legendFormat", "")
    for name, value in labels.items():
        legend = legend.replace("{{" + name + "}}", value)
    return legend


def defaults(panel):
    return panel["fieldConfig"]["defaults"]


def colour_of(panel, value):
    reached = [step["color"] for step in defaults(panel)["thresholds"]["steps"]
               if step["value"] is None or value >= step["value"]]
    return NAMED[reached[-1]]


def stat(panel, processes, x, y, w, h):
    target = panel["targets"][0]
    series = processes.query(concrete(target["expr"]))[0]
    value = float(series["value"][1])
    words = shown(value, defaults(panel)["unit"])
    for mapping in defaults(panel)["mappings"]:
        words = mapping["options"][f"{value:g}"]["text"]
    if panel["options"]["textMode"] == "name":
        words = named(target, series["metric"])
    return [text(x + w / 2, y + h / 2 + 20, words, 26, colour_of(panel, value), "middle", "bold")]


def bars(panel, processes, x, y, w, h):
    out, target = [], panel["targets"][0]
    found = sorted(processes.query(concrete(target["expr"])), key=lambda one: -float(one["value"][1]))
    most = max(float(one["value"][1]) for one in found)
    for place, one in enumerate(found):
        top, value = y + 40 + place * 44, float(one["value"][1])
        out += [text(x + 14, top + 8, named(target, one["metric"])),
                f'<rect x="{x + 14:.0f}" y="{top + 14:.0f}" width="{(w - 90) * value / most:.0f}" height="16" '
                f'fill="{NAMED["blue"]}"/>',
                text(x + w - 14, top + 27, shown(value, "short"), 13, anchor="end", weight="bold")]
    return out


def ranges(panel, processes, start, end):
    """(legend, [(moment, value)]) of all series of a panel."""
    step = max(1, (end - start) / POINTS)
    for target in panel["targets"]:
        query = concrete(target["expr"])
        for one in processes.api("query_range", query=query, start=start, end=end, step=step)["result"]:
            points = [(t, float(v)) for t, v in one["values"] if math.isfinite(float(v))]
            if points:
                yield named(target, one["metric"]), points


def clock(moment):
    return time.strftime("%H:%M:%S", time.gmtime(moment))


def frame(x, y, w, h, start, end, left):
    """Where the curves go, and the axis of time."""
    out, wide = [], w - left - 16
    for part in range(4):
        at = x + left + wide * part / 3
        anchor = ("start", "middle", "middle", "end")[part]
        out.append(text(at, y + h, clock(start + (end - start) * part / 3), 9, "#7b8794", anchor))
    return wide, out


def timeline(panel, processes, x, y, w, h, start, end):
    wide, out = frame(x, y, w, h - 10, start, end, 80)
    each = (h - 60) / len(panel["targets"])
    for place, (legend, points) in enumerate(ranges(panel, processes, start, end)):
        top, width = y + 34 + place * each, wide / len(points)
        out.append(text(x + 14, top + each / 2, legend))
        runs = []
        for number, (_, value) in enumerate(points):
            if runs and runs[-1][2] == value:
                runs[-1][1] = number
            else:
                runs.append([number, number, value])
        out += [f'<rect x="{x + 80 + a * width:.1f}" y="{top:.0f}" width="{(b - a + 1) * width:.1f}" '
                f'height="{each - 8:.0f}" fill="{colour_of(panel, value)}" fill-opacity="0.75"/>'
                for a, b, value in runs]
    return out


def lines(panel, processes, x, y, w, h, start, end):
    series = sorted(ranges(panel, processes, start, end), key=lambda one: -one[1][-1][1])[:10]
    unit, custom = defaults(panel)["unit"], defaults(panel)["custom"]
    stacked = custom["stacking"]["mode"] == "normal"
    rows = (len(series) + 1) // 2
    low = defaults(panel).get("min", 0)
    limits = [s["value"] for s in defaults(panel)["thresholds"]["steps"] if s["value"] is not None]
    if custom["thresholdsStyle"]["mode"] == "off":
        limits = []
    sums, drawn = {}, []
    for legend, points in series:
        if stacked:
            points = [(t, sums.setdefault(t, 0) + v) for t, v in points]
            sums.update(points)
        drawn.append((legend, points))
    largest = max([v for _, points in drawn for _, v in points] + limits[-1:] + [1e-9])
    high = defaults(panel).get("max") or nice(largest * 1.05 if limits else largest)
    if largest <= 1e-9:
        high = 1
    top, tall = y + 34, h - 62 - rows * 15
    wide, out = frame(x, y + 34 + tall + 14, w, 0, start, end, 64)

    def at(t, v):
        return (f"{x + 64 + wide * (t - start) / (end - start):.0f},"
                f"{top + tall * (1 - (min(max(v, low), high) - low) / (high - low)):.1f}")

    for part in range(5):
        level = low + (high - low) * part / 4
        _, height = at(start, level).split(",")
        out += [f'<path d="M{x + 64:.0f} {height}H{x + 64 + wide:.0f}" stroke="#e3e8ee"/>',
                text(x + 58, float(height) + 3, shown(level, unit), 9, "#7b8794", "end")]
    for place, (legend, points) in reversed(list(enumerate(drawn))):
        colour = COLOURS[place % len(COLOURS)]
        path = " ".join(at(t, v) for t, v in points)
        if stacked:
            first, last = at(points[0][0], low), at(points[-1][0], low)
            # What lies below is painted over it later.
            out.append(f'<polygon points="{first} {path} {last}" fill="#fff"/>'
                       f'<polygon points="{first} {path} {last}" fill="{colour}" fill-opacity="0.25"/>')
        out.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
    for limit, colour in zip(limits, ("#d6293e",) if len(limits) == 1 else ("#e8890c", "#d6293e")):
        height = at(start, limit).split(",")[1]
        out.append(f'<path d="M{x + 64:.0f} {height}H{x + 64 + wide:.0f}" stroke="{colour}" '
                   f'stroke-dasharray="6 4"/>')
    for place, (legend, points) in enumerate(series):
        left, height = x + 14 + place % 2 * (w / 2 - 8), y + h - 8 - (rows - 1 - place // 2) * 15
        out += [f'<rect x="{left:.0f}" y="{height - 8:.0f}" width="9" height="9" '
                f'fill="{COLOURS[place % len(COLOURS)]}"/>',
                text(left + 14, height, f"{legend}  {shown(points[-1][1], unit)}", 10)]
    return out


def draw(dashboard, processes, seconds):
    """All panels, over the seconds before now."""
    end = time.time() - 1
    start, out, bottom = end - seconds, [], 0
    for panel in everything(dashboard):
        grid = panel["gridPos"]
        x, y = grid["x"] * COLUMN + GAP, grid["y"] * UNIT + TOP
        w, h = grid["w"] * COLUMN - GAP, grid["h"] * UNIT - GAP
        bottom = max(bottom, y + h)
        if panel["type"] == "row":
            out.append(text(x + 2, y + 18, panel["title"], 15, weight="bold"))
            continue
        out += [f'<rect x="{x}" y="{y}" width="{w}" height="{h}" rx="3" fill="#fff" stroke="#d5dce4"/>',
                text(x + 12, y + 20, panel["title"], 12, "#1f2933", weight="bold")]
        if panel["type"] == "stat":
            out += stat(panel, processes, x, y, w, h)
        elif panel["type"] == "bargauge":
            out += bars(panel, processes, x, y, w, h)
        elif panel["type"] == "state-timeline":
            out += timeline(panel, processes, x, y, w, h, start, end)
        else:
            out += lines(panel, processes, x, y, w, h, start, end)
    width, height = 24 * COLUMN + GAP, bottom + GAP
    head = (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
            f'height="{height}" font-family="Helvetica, Arial, sans-serif">'
            f'<rect width="100%" height="100%" fill="#f2f5f8"/>')
    title = text(GAP + 2, 34, "PanaversityFS", 20, "#1f2933", weight="bold")
    return "\n".join([head, title, *out, "</svg>", ""])
