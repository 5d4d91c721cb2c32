"""Pictures of a run of compare.py: accuracy against time, boxes over structures or landmarks, folding.

Each has one row or panel for each data set; DeepRegister is blue, other programs are orange, and better is up or left
where there is a better.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from figures import BY_KEY, Figure, best_of_ours, groups, methods, ours, primary, value
from intervals import interval
from matplotlib import figure
from matplotlib.axes import Axes
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

OURS, THEIRS, GREY = "#1f5fa8", "#d9822b", "#555555"
INCHES = 7.0
DOTS = 150
# Of a name beside a point, as shares of a panel: width of a letter, height of a line.
LETTER, LINE = 0.0115, 0.042
# Boxes over fewer structures than this would say nothing.
FEW_STRUCTURES = 8
FOLDING = ("folded_percent", "ndv_percent", "sdlogj")
# Below this the axis of folds is linear, so that none at all has its place.
LINEAR_PERCENT = 1e-4


def write_plots(run: dict, folder: Path) -> list[Path]:
    """Draw what the rows of a run allow, as PNG files.

    Args:
        run: as compare.py writes it.
        folder: made if it is not there.

    Returns:
        The files, at most `accuracy-time.png`, `structures.png` and `folding.png`; a picture that would be empty is not
        made.
    """
    folder.mkdir(parents=True, exist_ok=True)
    drawn = {"accuracy-time": accuracy_time(run), "structures": structures(run), "folding": folding(run)}
    paths = []
    for name, picture in drawn.items():
        if picture is not None:
            paths.append(folder / f"{name}.png")
            # Nothing in the file but the picture: the same run gives the same file.
            picture.savefig(paths[-1], dpi=DOTS, metadata={"Software": None})
    return paths


def accuracy_time(run: dict) -> figure.Figure | None:
    """What each data set is judged by against the time of a pair, with the intervals of the means."""
    panels = {group: rows for group, rows in groups(run).items() if primary(rows) and _timed(rows)}
    if not panels:
        return None
    columns = min(2, len(panels))
    rows_of_panels = -(-len(panels) // columns)
    picture, axes = _grid(rows_of_panels, columns, 4.6)
    for ax, (group, rows) in zip(axes.flat, panels.items(), strict=False):
        _scatter(ax, run, group, rows)
    for ax in axes.flat[len(panels) :]:
        ax.set_visible(False)
    return picture


def _scatter(ax: Axes, run: dict, group: str, rows: list[dict]) -> None:
    judged, time = primary(rows), _time(rows)
    better = 1 if judged.better == "high" else -1
    points, before = [], None
    pairs, known = max(map(len, methods(rows).values())), _reference(run, rows)
    for name, mine in methods(rows).items():
        done = [row for row in mine if "failed" not in row and value(row, judged.key) is not None]
        values = [value(row, judged.key) for row in done]
        seconds = [value(row, time.key) for row in done if value(row, time.key)]
        if name == "headers" and values:
            before = float(np.mean(values))
        elif seconds:
            failed = len(mine) - len(done)
            text = name + (f" ({failed} failed)" if failed else "")
            mean, bounds = float(np.mean(values)), interval([row["pair"] for row in done], values)
            if len(mine) < pairs and all(row["pair"] in known for row in done):
                # Some of the pairs may be the easy ones: what counts is the difference from ours on these.
                apart = np.mean([value(row, judged.key) - known[row["pair"]] for row in done])
                mean, bounds = float(np.mean(list(known.values())) + apart), None
                text += f" ({len(mine)} pair{'s' if len(mine) > 1 else ''})"
            points.append((float(np.mean(seconds)), mean, bounds, text, _colour(run, name)))
    # What is far behind would press all others into a corner: it stands at the edge, with its figure.
    best = max(better * y for _, y, *_ in points)
    behind = [best - better * y for _, y, *_ in points]
    last = max(2 * float(np.quantile(behind, 0.7)), 0.02 * abs(best))
    labels = []
    for (x, y, bounds, text, colour), gap in zip(points, behind, strict=True):
        marker = "o" if colour == OURS else "s"
        if gap > last:
            y, marker, text = better * (best - 1.05 * last), "v", f"{text}: {y:.{judged.digits}f}"
        elif bounds:
            ax.vlines(x, *bounds, color=colour, linewidth=1.2, alpha=0.5, zorder=1)
        ax.plot(x, y, marker, color=colour, markersize=6, zorder=2, clip_on=False)
        labels.append((x, y, text, colour))
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    top = max([best + 0.1 * last, *(better * bound for _, _, bounds, *_ in points for bound in bounds or ())])
    ax.set_ylim(better * (best - 1.1 * last), better * (top + 0.05 * last))
    low, high = np.log10(ax.get_xlim())
    room = max(0.5, 0.15 * (high - low))
    ax.set_xlim(10 ** (low - 0.3 * room), 10 ** (high + room))
    ax.set_xlabel(f"{time.title}, mean of a pair")
    ax.set_ylabel(judged.title)
    told = "" if before is None else f"; {before:.{judged.digits}f} before"
    ax.set_title(f"{group}, {pairs} pair{'s' if pairs > 1 else ''}{told}", fontsize=10)
    ax.grid(linewidth=0.3)
    _name(ax, labels)


def _reference(run: dict, rows: list[dict]) -> dict[str, float]:
    """What the best of ours reached, by pair."""
    judged, best = primary(rows), best_of_ours(run, rows)
    mine = methods(rows).get(best, [])
    return {row["pair"]: value(row, judged.key) for row in mine if value(row, judged.key) is not None}


def _name(ax: Axes, labels: list[tuple[float, float, str, str]]) -> None:
    """Write names beside points, at the nearest place where they cover neither points nor each other."""
    to_share = ax.transData + ax.transAxes.inverted()
    points = [to_share.transform((x, y)) for x, y, *_ in labels]
    taken = [(x - 0.012, x + 0.012, y - 0.015, y + 0.015) for x, y in points]
    for (across, up), (_, _, text, colour) in sorted(zip(points, labels, strict=True), key=lambda each: -each[0][1]):
        width = LETTER * len(text)
        boxes = [
            (across + side + (0 if side > 0 else -width), up + rise)
            for rise in sorted(np.arange(-8, 9) * 0.5 * LINE, key=abs)
            for side in (0.02, -0.02)
        ]
        placed = [(x, x + width, y - LINE / 2, y + LINE / 2) for x, y in boxes]
        free = [box for box in placed if box[0] >= 0 and box[1] <= 1 and not any(_meet(box, other) for other in taken)]
        box = (free or placed)[0]
        taken.append(box)
        middle = (box[2] + box[3]) / 2
        if abs(middle - up) > LINE / 2:
            near = box[0] if box[0] > across else box[1]
            ax.plot([across, near], [up, middle], color=colour, linewidth=0.5, transform=ax.transAxes, zorder=1)
        ax.text(box[0], middle, text, fontsize=7.5, color=colour, transform=ax.transAxes, verticalalignment="center")


def _meet(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one[0] < other[1] and other[0] < one[1] and one[2] < other[3] and other[2] < one[3]


def structures(run: dict) -> figure.Figure | None:
    """Boxes over the structures of a data set, or over its landmarks."""
    panels = []
    for group, rows in groups(run).items():
        for key, title in (("dice_by_label", "Dice"), ("hd95_by_label", "HD95, mm"), ("tre_by_landmark", "TRE, mm")):
            # Distances before anything was done would press all others into a corner.
            shown = [row for row in rows if key == "dice_by_label" or row["method"] != "headers"]
            values = {name: _spread(mine, key) for name, mine in methods(shown).items()}
            values = {name: found for name, found in values.items() if len(found) > 1}
            if values:
                panels.append((group, key, title, values, _things(rows, key)))
    if not panels:
        return None
    most = max(len(values) for *_, values, _ in panels)
    columns = 2 if len(panels) > 1 else 1
    picture, axes = _grid(-(-len(panels) // columns), columns, 1.3 + 0.24 * most)
    for ax, (group, key, title, values, things) in zip(axes.flat, panels, strict=False):
        order = sorted(values, key=lambda name: np.median(values[name]), reverse=key != "dice_by_label")
        boxes = ax.boxplot(
            [values[name] for name in order],
            orientation="horizontal",
            widths=0.6,
            patch_artist=True,
            flierprops={"markersize": 2, "markeredgecolor": GREY},
            medianprops={"color": "black"},
        )
        for box, name in zip(boxes["boxes"], order, strict=True):
            box.set_facecolor(_colour(run, name))
            box.set_alpha(0.6)
        ax.set_yticks(range(1, len(order) + 1), order, fontsize=7.5)
        ax.set_xlabel(title)
        ax.set_title(f"{group}, {things}", fontsize=10)
        ax.grid(axis="x", linewidth=0.3)
    for ax in axes.flat[len(panels) :]:
        ax.set_visible(False)
    return picture


def _spread(rows: list[dict], key: str) -> list[float]:
    """Of each structure its mean over the pairs that have it, or where there are few, and of landmarks, all of all
    pairs."""
    found = [row[key] for row in rows if key in row]
    if not found:
        return []
    if isinstance(found[0], list):
        return [error for errors in found for error in errors]
    names = dict.fromkeys(name for each in found for name in each)
    if len(names) < FEW_STRUCTURES:
        return [each[name] for each in found for name in each]
    return [float(np.mean([each[name] for each in found if name in each])) for name in names]


def _things(rows: list[dict], key: str) -> str:
    """What the boxes are made of, in words."""
    found = [row[key] for row in rows if key in row]
    pairs = max(sum(key in row for row in mine) for mine in methods(rows).values())
    of_pairs = f" of {pairs} pairs" if pairs > 1 else ""
    if isinstance(found[0], list):
        return f"{sum(map(len, found)) // len(found)} landmarks{of_pairs}"
    count = len({name for each in found for name in each})
    if count < FEW_STRUCTURES:
        return f"{count} structure{'s' if count > 1 else ''}{of_pairs}"
    return f"means of {count} structures"


def folding(run: dict) -> figure.Figure | None:
    """Folds, inverted space and the spread of the volume change of each method, one row for each data set."""
    panels = {}
    for group, rows in groups(run).items():
        means = {name: _means(mine, FOLDING) for name, mine in methods(rows).items()}
        means = {name: found for name, found in means.items() if found}
        if means:
            panels[group] = means
    if not panels:
        return None
    most = max(map(len, panels.values()))
    picture, axes = _grid(len(panels), len(FOLDING), 1.2 + 0.24 * most, width=4.4)
    for row, (group, means) in zip(axes, panels.items(), strict=True):
        order = sorted(means, key=lambda name: means[name].get("sdlogj", 0.0), reverse=True)
        for ax, key in zip(row, FOLDING, strict=True):
            shown = [(place, means[name][key]) for place, name in enumerate(order) if key in means[name]]
            colours = [_colour(run, name) for name in order if key in means[name]]
            ax.set_visible(bool(shown))
            for (place, mean), colour in zip(shown, colours, strict=True):
                ax.hlines(place, 0, mean, color=colour, linewidth=1.2, alpha=0.5)
                ax.plot(mean, place, "o", color=colour, markersize=5, clip_on=False, zorder=3)
            ax.set_yticks(range(len(order)), order if ax is row[0] else [], fontsize=7.5)
            ax.set_ylim(-0.6, len(order) - 0.4)
            ax.set_xlabel(BY_KEY[key].title)
            ax.grid(axis="x", linewidth=0.3)
            _axis_of(ax, key, [mean for _, mean in shown])
        row[0].set_title(group, fontsize=10, loc="left")
    return picture


def _axis_of(ax: Axes, key: str, values: list[float]) -> None:
    """Shares of folds span decades, and none at all is what most have."""
    if key == "sdlogj":
        ax.set_xlim(0, 1.1 * max([*values, 0.1]))
        return
    ax.set_xscale("symlog", linthresh=LINEAR_PERCENT, linscale=0.5)
    top = max([*values, 10 * LINEAR_PERCENT])
    ax.set_xlim(0, 3 * top)
    decades = range(int(np.log10(LINEAR_PERCENT)), int(np.ceil(np.log10(top))) + 1)
    ax.set_xticks([0, *(10.0**decade for decade in list(decades)[:: 1 + len(decades) // 5])])
    ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    ax.xaxis.set_minor_locator(NullLocator())


def _means(rows: list[dict], keys: tuple[str, ...]) -> dict[str, float]:
    found = {key: [value(row, key) for row in rows if value(row, key) is not None] for key in keys}
    return {key: float(np.mean(values)) for key, values in found.items() if values}


def _timed(rows: list[dict]) -> bool:
    return any(row["method"] != "headers" and value(row, _time(rows).key) for row in rows)


def _time(rows: list[dict]) -> Figure:
    """CPU seconds of the whole process where every method has them: threads that idle cost nothing there."""
    run = [row for row in rows if row["method"] != "headers" and "failed" not in row]
    return BY_KEY["cpu_seconds" if run and all(value(row, "cpu_seconds") for row in run) else "seconds"]


def _colour(run: dict, name: str) -> str:
    return GREY if name == "headers" else OURS if ours(run, name) else THEIRS


def _grid(rows: int, columns: int, height: float, width: float = INCHES) -> tuple[figure.Figure, np.ndarray]:
    picture = figure.Figure((width * columns, height * rows + 0.3), layout="constrained")
    keys = [Patch(color=OURS, label="DeepRegister"), Patch(color=THEIRS, label="other programs")]
    picture.legend(handles=keys, loc="outside lower right", ncols=2, fontsize=8, frameon=False)
    return picture, picture.subplots(rows, columns, squeeze=False)
