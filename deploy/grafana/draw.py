#!/usr/bin/env python3
"""Asks a Prometheus for every panel of the dashboards, and draws them without Grafana.

    draw.py --prometheus http://127.0.0.1:9090 [--seconds 3600] [--job pgveil] [--out FOLDER]

Without --out it tells only which panels have no data; the exit code is 1 if one has none that should, or if an alert that fires has a
text that could not be filled in. Pictures (operations.png, security.png) need matplotlib.
"""
import argparse
import datetime
import json
import pathlib
import re
import sys
import time
import urllib.parse
import urllib.request

HERE = pathlib.Path(__file__).parent
# Panels that are empty while nothing is wrong.
MAY_BE_EMPTY = set()


def ask(base, path, **parameters):
    url = "%s/api/v1/%s?%s" % (base, path, urllib.parse.urlencode(parameters))
    with urllib.request.urlopen(url, timeout=30) as answer:
        return json.load(answer)["data"]


def expression(text, job, step):
    # As Grafana chooses it: four scrapes at least; those of the panels' test are a second apart.
    window = "%ds" % (60 if step > 15 else 20)
    return text.replace("$job", job).replace("$instance", ".*").replace("$__rate_interval", window)


def legend(text, labels):
    return re.sub(r"{{(\w+)}}", lambda found: labels.get(found.group(1), ""), text)


def lines(base, panel, job, start, end, step):
    """Points of every series of a panel: (legend, [(time, value)])."""
    found = []
    for target in panel["targets"]:
        data = ask(base, "query_range", query=expression(target["expr"], job, step), start=start, end=end, step=step)
        for one in data["result"]:
            points = [(float(at), float(value)) for at, value in one["values"]]
            found.append((legend(target["legendFormat"], one["metric"]), [(at, value) for at, value in points if value == value]))
    return [(name, points) for name, points in found if points]


def human(value, unit):
    if unit == "s" and value >= 120:
        for size, name in ((86400, "d"), (3600, "h"), (60, "min")):
            if value >= size:
                return "%.1f %s" % (value / size, name)
    if unit == "s":
        return "%.3g ms" % (value * 1000) if value < 1 else "%.3g s" % value
    if unit == "percentunit":
        return "%.0f %%" % (value * 100)
    if unit == "bytes":
        for size, name in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
            if value >= size:
                return "%.3g %s" % (value / size, name)
    text = "%.4g" % value
    return text + "/s" if unit == "ops" else text


def draw(title, panels, path, instant):
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import dates, pyplot
    from matplotlib.ticker import FuncFormatter

    rows = max(p["gridPos"]["y"] + p["gridPos"]["h"] for p, _ in panels)
    figure = pyplot.figure(figsize=(20, rows * 0.42 + 0.6), facecolor="#f6f7f9")
    figure.suptitle(title, x=0.01, ha="left", fontsize=15, fontweight="bold")
    unit_x, unit_y = 1 / 24, 1 / (rows + 1.4)
    for panel, series in panels:
        grid, unit = panel["gridPos"], panel.get("fieldConfig", {}).get("defaults", {}).get("unit", "none")
        bottom = 1 - (grid["y"] + grid["h"] + 1.4) * unit_y
        if panel["type"] == "row":
            figure.text(0.01, bottom + unit_y * 0.2, panel["title"], fontsize=12, color="#445")
            continue
        left = grid["x"] * unit_x
        if panel["type"] == "stat":
            value = human(series[-1][1][-1][1], unit) if series else "no data"
            if panel["title"] == "Version" and series:
                value = series[-1][0]
            figure.text(left + grid["w"] * unit_x / 2, bottom + grid["h"] * unit_y * 0.35, value, ha="center", fontsize=20, color="#1f6f5c")
            figure.text(left + grid["w"] * unit_x / 2, bottom + grid["h"] * unit_y * 0.78, panel["title"], ha="center", fontsize=9, color="#333")
            continue
        axes = figure.add_axes([left + 0.032, bottom + unit_y * 2.1, grid["w"] * unit_x - 0.045, (grid["h"] - 3.4) * unit_y])
        axes.set_title(panel["title"], fontsize=10, loc="left")
        custom = panel["fieldConfig"]["defaults"].get("custom", {})
        if not series:
            axes.text(0.5, 0.5, "no data", ha="center", transform=axes.transAxes, color="#999")
        elif custom.get("stacking"):
            times = sorted({at for _, points in series for at, _ in points})
            values = [[dict(points).get(at, 0) for at in times] for _, points in series]
            axes.stackplot([datetime.datetime.fromtimestamp(at) for at in times], values, labels=[name for name, _ in series], alpha=0.75)
        else:
            for name, points in series:
                axes.plot([datetime.datetime.fromtimestamp(at) for at, _ in points], [value for _, value in points], label=name, linewidth=1.3)
        axes.set_ylim(bottom=0)
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _, unit=unit: human(value, unit)))
        axes.xaxis.set_major_formatter(dates.DateFormatter("%H:%M:%S"))
        axes.xaxis.set_major_locator(dates.AutoDateLocator(maxticks=5))
        axes.tick_params(labelsize=7)
        axes.grid(color="#ddd", linewidth=0.5)
        if series:
            axes.legend(fontsize=6.5, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncol=min(4, len(series)), frameon=False)
    figure.savefig(path, dpi=80)
    print("drawn: %s" % path)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prometheus", required=True)
    parser.add_argument("--seconds", type=float, default=3600)
    parser.add_argument("--job", default="pgveil")
    parser.add_argument("--out", type=pathlib.Path)
    options = parser.parse_args()
    end = time.time()
    start, step = end - options.seconds, max(1, options.seconds / 240)
    empty, asked = [], 0
    for name in ("operations", "security"):
        dashboard = json.loads((HERE / (name + ".json")).read_text())
        panels = []
        for panel in dashboard["panels"]:
            series = [] if panel["type"] == "row" else lines(options.prometheus, panel, options.job, start, end, step)
            if panel["type"] != "row":
                asked += 1
                if not series and panel["title"] not in MAY_BE_EMPTY:
                    empty.append("%s: %s" % (name, panel["title"]))
            panels.append((panel, series))
        if options.out:
            options.out.mkdir(parents=True, exist_ok=True)
            draw(dashboard["title"], panels, options.out / (name + ".png"), end)
    rules = ask(options.prometheus, "rules")["groups"]
    for rule in (rule for group in rules for rule in group["rules"]):
        if rule["health"] != "ok":
            empty.append("rule %s: %s" % (rule["name"], rule.get("lastError") or rule["health"]))
        if rule["type"] == "recording" and not ask(options.prometheus, "query", query=rule["name"])["result"]:
            empty.append("recording rule %s" % rule["name"])
        for alert in rule.get("alerts", []):
            texts = " ".join(alert["annotations"].values())
            if "error expanding" in texts or "<no value>" in texts:
                empty.append("alert %s: %s" % (rule["name"], texts))
    alerts = ask(options.prometheus, "alerts")["alerts"]
    print("%d panels asked for; alerts: %s" % (asked, ", ".join(sorted({"%s (%s)" % (a["labels"]["alertname"], a["state"]) for a in alerts})) or "none"))
    for one in empty:
        print("no data, or wrong: %s" % one)
    sys.exit(1 if empty else 0)


if __name__ == "__main__":
    main()
