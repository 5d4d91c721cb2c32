"""`deepregister train`: a recipe and a folder of images in, a model out."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from ..console import ProgressBar, interruption
from ..settings import DEVICES
from ..training.recipe import built_in, read_recipe

DESCRIPTION = """\
Train a network on your own images and leave a model in FOLDER, which `deepregister models --models-dir` lists and
`deepregister register --model NAME --models-dir` runs; NAME is the folder's name.

RECIPE is a .toml file or one of: {recipes}. Its [data] says which files of --data are used:
by default images/NAME.nii.gz and, where labels are wanted, labels/NAME.nii.gz.

FOLDER receives card.toml and weights.safetensors, renewed at each validation, and in FOLDER/training
  checkpoint.safetensors   all that --resume needs to go on as if there had been no interruption
  curves.csv               losses, learning rate, speed and share of waiting for data, every 10 steps
  validation.csv           overlap, smoothness and folds on pairs that are not trained on
  look-NNNNNN.png          a validation pair in slices, as it was registered at that step
  tensorboard/             the same curves live: tensorboard --logdir FOLDER (extra `train`)
  data.npz                 the prepared images

--measure trains nothing: it registers the validation pairs with the finished model in FOLDER and renews its card.

Several GPUs of one machine: torchrun --nproc-per-node 4 -m deepregister train RECIPE ...

Exit status: 0 finished or stopped by --minutes, 2 wrong input, 130 stopped by Ctrl-C (--resume goes on).
"""
EXIT_STOPPED = 130


def add_parser(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "train",
        help="train a model on your own images",
        description=DESCRIPTION.format(recipes=", ".join(built_in())),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("recipe", metavar="RECIPE", help="a .toml file, or the name of a built-in recipe")
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER", help="the images and label maps")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="the model that comes out")
    begin = parser.add_mutually_exclusive_group()
    begin.add_argument("--resume", action="store_true", help="go on from the checkpoint in --out")
    begin.add_argument("--measure", action="store_true", help="only measure the finished model in --out anew")
    begin.add_argument(
        "--start-from",
        type=Path,
        metavar="MODEL",
        help="folder of a model whose weights to begin with, as far as they fit",
    )
    parser.add_argument(
        "--device", default="auto", metavar="|".join(DEVICES), help="default: the fastest present; also cuda:N"
    )
    parser.add_argument("--steps", type=_count, metavar="N", help="length of the schedule, in place of the recipe's")
    parser.add_argument("--minutes", type=_minutes, metavar="N", help="stop by the clock, with a checkpoint")
    parser.add_argument("--threads", type=_count, metavar="N", help="CPU threads; default: all")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    recipe = read_recipe(options.recipe).with_steps(options.steps)
    # torch comes with this one.
    from ..training.session import Watchers, measure, train

    leads = os.environ.get("RANK", "0") == "0"
    with interruption() as stop, ProgressBar() as bar:

        def say(text: str) -> None:
            bar.close()
            print(text, file=sys.stderr, flush=True)

        watchers = Watchers(bar, say, stop) if leads else Watchers(cancelled=stop)
        if options.measure:
            found = measure(
                recipe, options.data, options.out, device=options.device, threads=options.threads, watchers=watchers
            )
            bar.close()
            print(f"{options.out}: {_listed(found)}")
            return 0
        outcome = train(
            recipe,
            options.data,
            options.out,
            resume=options.resume,
            start_from=options.start_from,
            device=options.device,
            minutes=options.minutes,
            threads=options.threads,
            watchers=watchers,
        )
    if not leads:
        return 0
    print(
        f"{options.out}: step {outcome.step} of {outcome.steps}, {outcome.seconds_per_step:.3f} s a step, "
        f"{outcome.waiting:.1%} of it waiting for data.\n{_listed(outcome.figures)}"
    )
    if outcome.reason != "finished":
        why = "The time is over" if outcome.reason == "clock" else "Stopped"
        print(f"{why}. The same command with --resume goes on from here.")
    return EXIT_STOPPED if outcome.reason == "stopped" else 0


def _listed(figures: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in figures.items())


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of 1 or more")
    return int(text)


def _minutes(text: str) -> float:
    try:
        minutes = float(text)
    except ValueError:
        minutes = 0.0
    if not 0 < minutes < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of minutes above 0")
    return minutes
