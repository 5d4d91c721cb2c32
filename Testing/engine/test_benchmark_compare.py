"""What the comparison with other programs runs, and what the choice between models says."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))

import auto_choice
import compare


def test_models_of_one_organ_are_compared_on_that_organ_alone(monkeypatch, tmp_path):
    ran = []
    monkeypatch.setattr(compare, "_compare", lambda group, members, methods, *rest: ran.append((group, methods)) or [])
    monkeypatch.setattr(compare, "HERE", tmp_path)
    data = tmp_path / "data"
    (data / "hippocampus" / "images").mkdir(parents=True)
    for n in range(162):
        (data / "hippocampus" / "images" / f"hippocampus_{n:03d}.nii.gz").touch()
    methods = ["--methods", "affine", "voxelmorph"]
    compare.main(["brains-development", "hippocampus-development", "--data", str(data), "--count", "1", *methods])
    assert ran == [("brains-development", ["affine"]), ("hippocampus-development", ["affine", "voxelmorph"])]


def test_a_choice_is_wrong_where_another_model_is_clearly_better():
    def row(auto, affine, deformable, chosen):
        seconds = {f"{name}_seconds": 1.0 for name in ("auto", "affine", "deformable")}
        return {"kind": "crops", "chosen": chosen, "auto": auto, "affine": affine, "deformable": deformable, **seconds}

    rows = [row(0.8, 0.7, 0.8, "deformable"), row(0.7, 0.7, 0.75, "affine"), row(0.795, 0.7, 0.8, "deformable")]
    run = {"rows": rows, "versions": {"deepregister": "1"}, "date": "today", "threads": 2, "machine": "one"}
    page = auto_choice.table(run | {"load_at_start": 0, "options": {}})
    assert "`auto` took deformable 2, affine 1: wrong on 1 of 3 pairs, 0.0183 Dice below" in page
    assert "| deformable | 0.7833 | 0.750 | 1.0 |" in page
