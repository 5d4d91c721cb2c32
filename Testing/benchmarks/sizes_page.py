"""The tables and the picture of sizes.py: seconds and peak memory by stage, how they grow, where the time goes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from matplotlib import figure
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator
from peaks import ALL_STAGES

COLOURS = {
    "prepare": "#9e9ac8",
    "align": "#5ab4ac",
    "deform": "#1f5fa8",
    "refine": "#2c2c6c",
    "inverse": "#d9822b",
    "measure": "#b2182b",
}
DOTS = 150
PROFILE_ROWS = 14
# Below so many seconds everything is the start of threads and libraries, which tells nothing of growth.
GROWTH_SECONDS = 1.0


def shown(size: Sequence[int]) -> str:
    """64^3, or 512x512x400."""
    return f"{size[0]}^3" if len(set(size)) == 1 else "x".join(map(str, size))


def summary(run: dict) -> str:
    """Seconds and peaks of each stage, growth, and the profile of the largest size that was watched."""
    done = [row for row in run["rows"] if "failed" not in row]
    stages = list(dict.fromkeys(stage for row in done for stage in row["stages"]))
    device = done[0]["device"] if done else run["device"]
    lines = [
        f"DeepRegister {run['versions']['deepregister']}, `deformable`, {run['date']}, {run['threads']} threads of "
        f"{run['machine']}, computing on {device}; {run['load_at_start']} programs running at the start. Synthetic CT, "
        "two volumes of each size, each size in a process of its own. Peaks are of the whole process during the stage, "
        "the volumes and the libraries included.",
        "",
    ]
    for key, title, of in (("stages", "Seconds by stage", "s"), ("peaks", "Peak memory by stage", "MB")):
        names = stages if key == "stages" else list(dict.fromkeys(n for row in done for n in row["peaks"]))
        header = [
            "size",
            "quality",
            *names,
            *(("all", "estimated", "CPU s of the process") if of == "s" else ("all", "estimated")),
        ]
        lines += [f"## {title}", "", f"| {' | '.join(header)} |", "| --- " * len(header) + "|"]
        for row in run["rows"]:
            start = [shown(row["size"]), row["quality"]]
            if "failed" in row:
                cells = [f"failed: {row['failed']}"] + [""] * (len(header) - 3)
            elif of == "s":
                values = [row["stages"].get(name, 0.0) for name in names]
                cells = [f"{value:.2f}" for value in (*values, sum(row["stages"].values()))]
                cells += [f"{row['estimated_seconds']:.0f}", f"{row['process_cpu_seconds']:.1f}"]
            else:
                values = [row["peaks"].get(name, 0.0) for name in names]
                cells = [f"{value:.0f}" for value in (*values, row["peak_mb"], row["estimated_mb"])]
            lines.append(f"| {' | '.join([*start, *cells])} |")
        lines.append("")
    lines += _growth_lines(done)
    lines += _profile(done)
    lines += ["## Made by", "", "```sh", *run["command"].split(" && "), "```"]
    return "\n".join(lines) + "\n"


def growth(voxels: Sequence[float], values: Sequence[float]) -> float | None:
    """The power of the number of voxels that values grow with, by least squares; None for fewer than two sizes."""
    if len(set(voxels)) < 2:
        return None
    return float(np.polyfit(np.log(voxels), np.log(values), 1)[0])


def _growth_lines(done: list[dict]) -> list[str]:
    told = []
    for quality in dict.fromkeys(row["quality"] for row in done):
        rows = [row for row in done if row["quality"] == quality]
        slow = [row for row in rows if sum(row["stages"].values()) >= GROWTH_SECONDS]
        time = growth([_voxels(row) for row in slow], [sum(row["stages"].values()) for row in slow])
        if time is not None:
            told.append(f"- {quality}: seconds grow with the voxels to the power of {time:.2f} (from a second on)")
        if len(rows) > 1:
            small, large = min(rows, key=_voxels), max(rows, key=_voxels)
            bytes_each = 1e6 * (large["peak_mb"] - small["peak_mb"]) / (_voxels(large) - _voxels(small))
            told.append(f"- {quality}: {bytes_each:.1f} bytes of memory for each further voxel of the fixed volume")
    return ["## Growth", "", *told, ""] if told else []


def _profile(done: list[dict]) -> list[str]:
    watched = [row for row in done if "profile" in row]
    if not watched:
        return []
    # It watches torch, which takes long to load.
    from profile_stages import profile_table

    row = max(watched, key=_voxels)
    functions = row["profile"]["functions"]
    total = sum(entry["seconds"] for entry in functions)
    return [
        f"## Where the time goes: {shown(row['size'])}, {row['quality']}, watched, {total:.1f} s",
        "",
        f"A copy of a large array moves {row['copy'] / 1e9:.1f} GB/s: what moves bytes as fast is bound by the memory.",
        "",
        *profile_table("stage and function", "own seconds", functions[:PROFILE_ROWS], total, row["copy"]),
        "",
        *profile_table("tensor operation", "seconds", row["profile"]["tensor"][:PROFILE_ROWS], total, row["copy"]),
        "",
    ]


def plot(run: dict, path: Path) -> Path:
    """Seconds and peak memory against the number of voxels, and shares of the time; a PNG file.

    The stages are drawn for one quality, the first, and the whole for each.
    """
    done = sorted((row for row in run["rows"] if "failed" not in row), key=_voxels)
    picture = figure.Figure((14, 4.8), layout="constrained")
    axes = picture.subplots(1, 3)
    qualities = list(dict.fromkeys(row["quality"] for row in done))
    for quality, style in zip(qualities, ("-", "--", "-."), strict=False):
        rows = [row for row in done if row["quality"] == quality]
        stages = quality == qualities[0]
        _lines(axes[0], rows, "stages", style, stages, lambda row: sum(row["stages"].values()), "estimated_seconds")
        _lines(axes[1], rows, "peaks", style, stages, lambda row: row["peak_mb"], "estimated_mb")
    axes[0].set_ylabel(f"seconds, {run['threads']} threads")
    axes[1].set_ylabel("peak memory, MB")
    for ax in axes[:2]:
        ax.set_xscale("log")
        ax.set_yscale("log")
        ticks = {_voxels(row): shown(row["size"]) for row in done}
        ax.set_xticks(list(ticks), list(ticks.values()), fontsize=8)
        ax.set_xticks([], minor=True)
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.yaxis.set_minor_locator(NullLocator())
        ax.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
        ax.set_xlabel("voxels of each volume")
        ax.grid(linewidth=0.3)
    _shares(axes[2], done)
    stages = dict.fromkeys(stage for row in done for stage in row["stages"])
    keys = [Line2D([], [], color=_colour(stage), linewidth=4, label=stage) for stage in stages]
    for quality, style in zip(qualities, ("-", "--", "-."), strict=False):
        keys.append(Line2D([], [], color="black", linewidth=2, linestyle=style, label=f"{quality}, all"))
    keys.append(Line2D([], [], color="black", linewidth=1, linestyle=":", label="estimated before the start"))
    picture.legend(handles=keys, loc="outside upper center", ncols=len(keys), fontsize=8, frameon=False)
    # The same run gives the same file.
    picture.savefig(path, dpi=DOTS, metadata={"Software": None})
    return path


def _lines(ax: Axes, rows: list[dict], key: str, style: str, stages: bool, whole: Callable, estimated: str) -> None:
    voxels = [_voxels(row) for row in rows]
    for stage in dict.fromkeys(stage for row in rows for stage in row[key]) if stages else ():
        if stage != ALL_STAGES:
            values = [row[key].get(stage, np.nan) for row in rows]
            ax.plot(voxels, values, "o-", markersize=3, linewidth=1, color=_colour(stage))
    ax.plot(voxels, [whole(row) for row in rows], color="black", marker="o", markersize=4, linewidth=2, linestyle=style)
    ax.plot(voxels, [row[estimated] for row in rows], color="black", linewidth=1, linestyle=":")


def _shares(ax: Axes, done: list[dict]) -> None:
    names = [f"{shown(row['size'])}, {row['quality']}" for row in done]
    left = np.zeros(len(done))
    for stage in dict.fromkeys(stage for row in done for stage in row["stages"]):
        share = np.array([row["stages"].get(stage, 0.0) / sum(row["stages"].values()) for row in done])
        ax.barh(names, share, left=left, color=_colour(stage))
        left += share
    ax.set_xlabel("share of the time")
    ax.set_xlim(0, 1)
    ax.tick_params(axis="y", labelsize=8)


def _colour(stage: str) -> str:
    return COLOURS.get(stage, "#777777")


def _voxels(row: dict) -> int:
    return int(np.prod(row["size"]))
