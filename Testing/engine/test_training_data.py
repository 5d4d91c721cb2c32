"""Training data: found by a pattern, prepared as the engine does, kept, and drawn as pairs."""

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from collections_of_blobs import RECIPE, subject, write_folder
from deepregister import Geometry
from deepregister.errors import FileError, InputError
from deepregister.training.data import find_subjects, load
from deepregister.training.imagepairs import ImagePairs, OnDevice, grid_matrix, on_grid
from deepregister.training.recipe import Recipe, read_recipe
from deepregister.transforms import Rigid

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("data"))


@pytest.fixture
def recipe(tmp_path):
    def changed(*replacements):
        text = RECIPE
        for before, after in replacements:
            assert before in text
            text = text.replace(before, after, 1)
        path = tmp_path / "recipe.toml"
        path.write_text(text, encoding="utf-8")
        return read_recipe(str(path))

    return changed


def names(files):
    return [each.name for each in files]


def test_subjects_are_split_by_name(folder, recipe):
    training, validation = find_subjects(folder, recipe())
    assert names(training) == ["case01", "case02", "case03", "case04"]
    assert names(validation) == ["case05", "case06"]
    assert all(each.image.name == each.labels.name == f"{each.name}.nii.gz" for each in training + validation)


def test_only_the_first_so_many_are_taken(folder, recipe):
    training, validation = find_subjects(folder, recipe(("validation = 2", "validation = 2\ntake = 5")))
    assert names(training + validation) == [f"case{n:02d}" for n in range(1, 6)]


def test_any_layout_with_the_subjects_name_in_the_file_names_will_do(tmp_path, recipe):
    patterns = ("*_t1.nii.gz", "*_labels.nii.gz")
    folder = write_folder(tmp_path / "flat", 4, patterns)
    training, _ = find_subjects(
        folder, recipe(('labels = "labels/*.nii.gz"', 'images = "*_t1.nii.gz"\nlabels = "*_labels.nii.gz"'))
    )
    assert names(training) == ["case01", "case02"]
    assert training[0].labels.name == "case01_labels.nii.gz"


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (lambda f: None, None, []),
        (lambda f: [p.unlink() for p in f.rglob("*.nii.gz")], FileError, ["images/*.nii.gz", "--data"]),
        (lambda f: [p.unlink() for p in sorted(f.glob("images/*"))[:3]], InputError, ["3 files", "4"]),
        (lambda f: (f / "labels" / "case02.nii.gz").unlink(), InputError, ["1 of 6", "case02", "loss.dice"]),
    ],
)
def test_what_the_folder_lacks_is_said(tmp_path, recipe, change, error, words):
    folder = write_folder(tmp_path / "data")
    change(folder)
    if error is None:
        find_subjects(folder, recipe())
        return
    with pytest.raises(error) as caught:
        find_subjects(folder, recipe())
    for word in words:
        assert word in str(caught.value)


def test_a_folder_that_does_not_exist_is_said(tmp_path, recipe):
    with pytest.raises(FileError, match="does not exist"):
        find_subjects(tmp_path / "nowhere", recipe())


def test_the_prepared_image_does_not_depend_on_how_its_voxels_are_stored(tmp_path, recipe):
    folder = write_folder(tmp_path / "data")
    image, labels = subject(1)
    turned = Geometry((16, 20, 18), (1, 1, 1), (19.0, 0.0, 15.0), ((0.0, -1.0, 0.0), (0.0, 0.0, 1.0), (-1.0, 0.0, 0.0)))
    for volume, kind in ((image, "images"), (labels, "labels")):
        other = Rigid.identity().resample(volume, turned, "nearest")
        sitk.WriteImage(other.to_sitk(), str(folder / kind / "case02.nii.gz"))
    first, second = load(folder, recipe(), tmp_path / "kept.npz").training[:2]
    assert np.array_equal(first.image, second.image)
    assert np.array_equal(first.labels, second.labels)
    assert np.allclose(first.matrix, second.matrix)
    assert first.image.dtype == np.uint8
    assert first.image.max() > 250


def test_other_spacings_are_brought_to_the_networks(tmp_path, recipe):
    folder = write_folder(tmp_path / "data")
    fine = Geometry((40, 36, 32), (0.5, 0.5, 0.5), (-0.25, -0.25, -0.25))
    for volume, kind in zip(subject(1, fine), ("images", "labels"), strict=True):
        sitk.WriteImage(volume.to_sitk(), str(folder / kind / "case02.nii.gz"))
    first, second = load(folder, recipe(), tmp_path / "kept.npz").training[:2]
    assert second.image.shape == first.image.shape == (16, 18, 20)
    overlap = (
        2
        * np.sum((first.labels > 0) & (second.labels > 0))
        / np.sum((first.labels > 0).astype(int) + (second.labels > 0))
    )
    assert overlap > 0.93


def test_what_is_prepared_is_kept_and_used_again_until_a_file_changes(tmp_path, recipe):
    folder, kept, said = write_folder(tmp_path / "data"), tmp_path / "kept.npz", []
    first = load(folder, recipe(), kept, lambda fraction, message: said.append(message))
    assert any("case04" in message for message in said)
    said.clear()
    again = load(folder, recipe(), kept, lambda fraction, message: said.append(message))
    assert not said
    for before, after in zip(first.training + first.validation, again.training + again.validation, strict=True):
        for name in ("image", "labels", "matrix", "centre", "from_middle"):
            assert np.array_equal(getattr(before, name), getattr(after, name))
        assert (before.name, before.contained) == (after.name, after.contained)
    assert [(p.fixed, p.moving, p.matrix.tolist()) for p in first.pairs] == [
        (p.fixed, p.moving, p.matrix.tolist()) for p in again.pairs
    ]
    sitk.WriteImage(subject(99)[0].to_sitk(), str(folder / "images" / "case01.nii.gz"))
    changed = load(folder, recipe(), kept, lambda fraction, message: said.append(message))
    assert said
    assert not np.array_equal(changed.training[0].image, first.training[0].image)
    kept.write_bytes(kept.read_bytes()[:300])
    said.clear()
    repaired = load(folder, recipe(), kept, lambda fraction, message: said.append(message))
    assert said
    assert np.array_equal(repaired.training[0].image, changed.training[0].image)


def test_structures_can_be_chosen_and_must_be_there(folder, tmp_path, recipe):
    collection = load(folder, recipe(("crop =", "structures = [2]\ncrop =")), tmp_path / "kept.npz")
    assert collection.structures == (2,)
    assert set(np.unique(collection.training[0].labels)) == {0, 1}
    with pytest.raises(InputError, match="label 5"):
        load(folder, recipe(("crop =", "structures = [5]\ncrop =")), tmp_path / "other.npz")


def test_affine_alignment_brings_each_subject_to_the_middle_one(folder, tmp_path, recipe):
    collection = load(folder, recipe(('align = "none"', 'align = "affine"')), tmp_path / "kept.npz")
    subjects = collection.training + collection.validation

    def centre(each):
        index = np.argwhere(each.labels == 2).mean(0)[::-1]
        return (each.matrix @ np.append(index, 1))[:3]

    (middle,) = [each for each in subjects if np.array_equal(each.from_middle, np.eye(4))]
    apart, aligned = (
        np.mean([np.linalg.norm((m @ np.append(centre(middle), 1))[:3] - centre(each)) for each, m in moved])
        for moved in ([(e, np.eye(4)) for e in subjects], [(e, e.from_middle) for e in subjects])
    )
    assert aligned < 0.6 * apart
    for pair in collection.pairs:
        fixed, moving = (collection.validation[place] for place in (pair.fixed, pair.moving))
        assert np.linalg.norm((pair.matrix @ np.append(centre(fixed), 1))[:3] - centre(moving)) < 1.0


@pytest.fixture(scope="module")
def collection(folder, tmp_path_factory):
    place = tmp_path_factory.mktemp("kept")
    (place / "recipe.toml").write_text(RECIPE, encoding="utf-8")
    return load(folder, read_recipe(str(place / "recipe.toml")), place / "kept.npz")


def varied(**values):
    import tomllib

    return Recipe.from_dict({**tomllib.loads(RECIPE), "augmentation": values})


def test_without_a_shift_the_network_sees_the_voxels_themselves(collection):
    subject_ = OnDevice.of(collection.training[0], CPU)
    recipe = varied()
    batch = on_grid(subject_, subject_, np.eye(4), recipe, 2)
    start = np.round(np.linalg.inv(subject_.subject.matrix) @ grid_matrix(subject_.subject, recipe))[:3, 3].astype(int)
    i, j, k = (slice(max(0, s), max(0, s) + 16) for s in start)
    stored = subject_.subject.image[k, j, i] / 255
    assert np.abs(batch.fixed[0, 0].numpy() - stored).max() < 1e-4
    assert torch.equal(batch.fixed, batch.moving)
    assert batch.fixed_labels.shape == (1, 2, 16, 16, 16)
    assert float(batch.fixed_labels.sum(1).max()) <= 1 + 1e-5


def test_beyond_its_border_an_image_says_nothing(collection):
    subject_ = OnDevice.of(collection.training[0], CPU)
    far = np.eye(4)
    far[0, 3] = 12.0
    batch = on_grid(subject_, subject_, far, varied(), 2)
    assert float(batch.fixed_inside.min()) == 1
    gone = batch.moving_inside[0, 0, :, :, -8:]
    assert float(gone.max()) == 0
    assert float(batch.moving[0, 0, :, :, -8:].abs().max()) == 0


def test_draws_follow_from_the_generator_alone_and_join_different_subjects(collection):
    pairs = ImagePairs(collection, varied(gamma=0.5, shared_share=1.0), CPU)
    first, again, other = (pairs.draw(2, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    for name in ("fixed", "moving", "fixed_labels", "moving_inside", "fixed_clean"):
        assert torch.equal(getattr(first, name), getattr(again, name))
    assert not torch.equal(first.fixed, other.fixed)
    assert not torch.equal(first.fixed_labels, first.moving_labels)
    assert not torch.equal(first.fixed, first.fixed_clean)
    assert first.fixed.shape == (2, 1, 16, 16, 16)


def test_flips_take_both_sides_together(collection):
    plain = ImagePairs(collection, varied(shared_share=0.0, residual_degrees=0, residual_mm=0, residual_percent=0), CPU)
    flipped = ImagePairs(
        collection,
        varied(shared_share=0.0, residual_degrees=0, residual_mm=0, residual_percent=0, flips=[0]),
        CPU,
    )
    seen = set()
    for seed in range(8):
        here, there = (source.draw(1, torch.Generator().manual_seed(seed)) for source in (plain, flipped))
        mirrored = [
            any(
                torch.allclose(
                    getattr(there, side).flip(4).roll(shift, 4)[..., 2:-2], getattr(here, side)[..., 2:-2], atol=1e-3
                )
                for shift in (-1, 0, 1)
            )
            for side in ("fixed_labels", "moving_labels")
        ]
        assert mirrored[0] == mirrored[1] != torch.allclose(there.fixed, here.fixed, atol=1e-3)
        seen.add(mirrored[0])
    assert seen == {True, False}
