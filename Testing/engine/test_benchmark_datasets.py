"""The adapters read each public layout as it is published: folders made here in that layout, with known positions."""

import json
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from deepregister import Geometry, Rigid, Volume
from deepregister.errors import FileError, InputError

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))

import datasets
from datasets import dirlab, learn2reg, manifest, publicbrains
from datasets.pair import header, voxel_points

GRID = Geometry((6, 7, 5), (1.5, 1.0, 2.0), (10, -20, 30), ((-1, 0, 0), (0, -1, 0), (0, 0, 1)))


def write(path, value=0, grid=GRID):
    path.parent.mkdir(parents=True, exist_ok=True)
    Volume(np.full(grid.shape, value, np.int16), grid).write(path)
    return path


def rows(path, points, separator=","):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(separator.join(f"{x:.3f}" for x in point) + "\n" for point in points))


def only(pairs):
    (pair,) = pairs
    return pair


def test_voxels_of_a_file_lie_where_the_header_puts_them(tmp_path):
    image = write(tmp_path / "image.nii.gz")
    rows(tmp_path / "zero.csv", [[1, 2, 3]])
    rows(tmp_path / "one.txt", [[2, 3, 4]], "\t")
    expected = sitk.ReadImage(str(image)).TransformIndexToPhysicalPoint((1, 2, 3))
    assert voxel_points(tmp_path / "zero.csv", image) == pytest.approx(np.array([expected]), abs=1e-5)
    assert voxel_points(tmp_path / "one.txt", image, first=1) == pytest.approx(np.array([expected]), abs=1e-5)


def test_what_is_no_list_of_points_is_refused(tmp_path):
    image = write(tmp_path / "image.nii.gz")
    for text, found in (("1,2\n3,4\n", "shape"), ("a,b,c\n", "three numbers"), ("1,2,3\n4,5\n", "three numbers")):
        (tmp_path / "points.csv").write_text(text)
        with pytest.raises(FileError, match=found):
            voxel_points(tmp_path / "points.csv", image)


class TestLearn2Reg:
    """Task and case, modality; files beside the images; points in voxels from 0 in .csv files."""

    @pytest.fixture
    def folder(self, tmp_path):
        folder = tmp_path / "LungCT"
        for case in (1, 2):
            for modality in (0, 1):
                name = f"LungCT_{case:04d}_{modality:04d}"
                write(folder / "imagesTr" / f"{name}.nii.gz")
                write(folder / "masksTr" / f"{name}.nii.gz", 1)
                rows(folder / "landmarksTr" / f"{name}.csv", [[1, 2, 3 - modality], [2, 2, 2]])
                rows(folder / "keypointsTr" / f"{name}.csv", [[0, 0, 0]])
        pairs = [
            {side: f"./imagesTr/LungCT_{case:04d}_{n:04d}.nii.gz" for n, side in enumerate(("fixed", "moving"))}
            for case in (1, 2)
        ]
        self.describe(folder, "LungCT", registration_val=pairs)
        return folder

    @staticmethod
    def describe(folder, task, **entries):
        (folder / f"{task}_dataset.json").write_text(json.dumps({"name": task, **entries}))

    def test_a_task_with_landmarks(self, folder):
        first, second = datasets.DATASETS["learn2reg-lungct"](folder.parent, None)
        assert (first.name, second.name) == ("LungCT 0001_0000<-0001_0001", "LungCT 0002_0000<-0002_0001")
        assert first.fixed == folder / "imagesTr" / "LungCT_0001_0000.nii.gz" and first.held_out
        assert first.mask == folder / "masksTr" / "LungCT_0001_0000.nii.gz"
        assert first.fixed_labels is None
        found = first.landmarks()
        assert set(found) == {"all", "keypoints"}
        # One voxel along k, whose spacing is 2 mm.
        assert np.linalg.norm(found["all"].fixed - found["all"].moving, axis=1) == pytest.approx([2, 0])
        assert found["all"].fixed == pytest.approx(GRID.index_to_point([[1, 2, 3], [2, 2, 2]]), abs=1e-4)

    def test_labels_and_their_names(self, tmp_path):
        folder = tmp_path / "OASIS"
        for case in (395, 396):
            write(folder / "imagesTr" / f"OASIS_{case:04d}_0000.nii.gz")
            write(folder / "labelsTr" / f"OASIS_{case:04d}_0000.nii.gz", 3)
        pairs = [{"fixed": "imagesTr/OASIS_0395_0000.nii.gz", "moving": "imagesTr/OASIS_0396_0000.nii.gz"}]
        names = {"0": {"0": "background", "3": "Left-Thalamus"}}
        self.describe(folder, "OASIS", registration_val=pairs, labels=names)
        pair = only(datasets.load(str(folder), tmp_path))
        assert pair.moving_labels == folder / "labelsTr" / "OASIS_0396_0000.nii.gz"
        assert pair.label_names == {3: "Left-Thalamus"} and pair.landmarks is None

    def test_points_of_an_image_with_two_partners(self, tmp_path):
        """ThoraxCBCT: keypoints01Tr and keypoints02Tr, named .nii.gz in the description and .csv on the disk."""
        folder = tmp_path / "ThoraxCBCT"
        for modality in (0, 1, 2):
            write(folder / "imagesTr" / f"ThoraxCBCT_0011_{modality:04d}.nii.gz")
        for partner in (1, 2):
            for modality in (0, partner):
                points = [[partner, modality, 0]]
                rows(folder / f"keypoints0{partner}Tr" / f"ThoraxCBCT_0011_{modality:04d}.csv", points)
        image = "./imagesTr/ThoraxCBCT_0011_{}.nii.gz".format
        pairs = [{"fixed": image(f"{n:04d}"), "moving": image("0000")} for n in (1, 2)]
        self.describe(folder, "ThoraxCBCT", registration_val=pairs)
        for partner, pair in enumerate(learn2reg.learn2reg(folder), start=1):
            points = pair.landmarks()["all"]
            assert points.fixed == pytest.approx(GRID.index_to_point([[partner, partner, 0]]), abs=1e-4)
            assert points.moving == pytest.approx(GRID.index_to_point([[partner, 0, 0]]), abs=1e-4)

    def test_lumir_lists_its_pairs_as_validation_and_shows_no_labels(self, tmp_path):
        folder = tmp_path / "LUMIR"
        for case in (3454, 3455):
            write(folder / "imagesVal" / f"LUMIRMRI_{case}_0000.nii.gz")
        pairs = [{"fixed": "imagesVal/LUMIRMRI_3454_0000.nii.gz", "moving": "imagesVal/LUMIRMRI_3455_0000.nii.gz"}]
        training = [{"image": "./imagesTr/LUMIRMRI_0001_0000.nii.gz"}]
        self.describe(folder, "LUMIR", training=training, validation=pairs)
        pair = only(datasets.DATASETS["lumir"](tmp_path, None))
        assert pair.fixed.is_file() and pair.fixed_labels is None and pair.landmarks is None

    def test_what_is_missing_is_said(self, folder, tmp_path):
        (folder / "imagesTr" / "LungCT_0002_0001.nii.gz").unlink()
        with pytest.raises(FileError, match="LungCT_0002_0001"):
            datasets.load(str(folder), tmp_path)
        assert len(datasets.load(str(folder), tmp_path, 1)) == 1
        with pytest.raises(FileError, match="registration_test"):
            datasets.load(f"{folder}@test", tmp_path)
        with pytest.raises(FileError, match="NLST of Learn2Reg"):
            datasets.load("learn2reg-nlst", tmp_path)


class TestOasis:
    @pytest.fixture
    def data(self, tmp_path):
        folder = tmp_path / "neurite-oasis.v1.0"
        for subject in range(1, 24):
            for name in ("aligned_norm", "aligned_seg35", "norm", "seg35"):
                path = folder / f"OASIS_OAS1_{subject:04d}_MR1" / f"{name}.nii.gz"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch()
        (folder / "seg35_labels.txt").write_text("0  Unknown 0 0 0 0\n1  Left-Cerebral-White-Matter 245 245 245 0\n")
        return tmp_path

    def test_neighbours_among_the_last_twenty(self, data):
        pairs = datasets.DATASETS["oasis"](data, None)
        assert len(pairs) == 19
        assert pairs[0].name == "OASIS 0004<-0005" and pairs[-1].name == "OASIS 0022<-0023"
        assert pairs[0].fixed.name == "aligned_norm.nii.gz" and pairs[0].moving_labels.name == "aligned_seg35.nii.gz"
        assert pairs[0].label_names == {1: "Left-Cerebral-White-Matter"}
        assert all(pair.held_out for pair in pairs)

    def test_as_they_were_scanned(self, data):
        pair = only(datasets.DATASETS["oasis-native"](data / "neurite-oasis.v1.0", 1))
        assert (pair.fixed.name, pair.fixed_labels.name) == ("norm.nii.gz", "seg35.nii.gz")

    def test_a_missing_file_is_named(self, data):
        (data / "neurite-oasis.v1.0" / "OASIS_OAS1_0010_MR1" / "aligned_seg35.nii.gz").unlink()
        with pytest.raises(FileError, match="OASIS_OAS1_0010_MR1"):
            publicbrains.oasis(data)


class TestLpba40:
    @staticmethod
    def write(folder, ending):
        for subject in range(1, 41):
            for kind in (publicbrains.LPBA40_IMAGE, publicbrains.LPBA40_LABELS):
                path = folder / f"S{subject:02d}" / f"S{subject:02d}.{kind}{ending}"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch()

    def test_random_pairs_are_the_same_each_time(self, tmp_path):
        self.write(tmp_path / "LPBA40" / "delineation_space", ".nii.gz")
        pairs = datasets.DATASETS["lpba40"](tmp_path, None)
        assert len({p.name for p in pairs}) == 40 and [p.name for p in pairs] == [
            p.name for p in publicbrains.lpba40(tmp_path)
        ]
        for pair in pairs:
            fixed, moving = pair.name.removeprefix("LPBA40 ").split("<-")
            assert fixed != moving
            assert pair.fixed.name == f"{fixed}.delineation.skullstripped.nii.gz"
            assert pair.moving_labels.name == f"{moving}.delineation.structure.label.nii.gz"

    def test_onto_the_first_subject(self, tmp_path):
        self.write(tmp_path / "LPBA40", ".hdr")
        pairs = datasets.DATASETS["lpba40-atlas"](tmp_path, None)
        assert [p.name for p in pairs] == [f"LPBA40 S01<-S{n:02d}" for n in range(2, 11)]

    def test_analyze_files_with_one_frame_are_volumes(self, tmp_path):
        """As the laboratory hands them out: .hdr and .img with a fourth dimension of 1."""
        data = np.arange(6 * 7 * 5, dtype="<i2").reshape(5, 7, 6)
        start = struct.pack("<i10s18sihcc", 348, b"", b"", 16384, 0, b"r", b"0")
        shape = struct.pack("<8h", 4, 6, 7, 5, 1, 0, 0, 0) + struct.pack("<14x3h8f", 4, 16, 0, *[1] * 8)
        (tmp_path / "S01.hdr").write_bytes((start + shape).ljust(348, b"\0"))
        (tmp_path / "S01.img").write_bytes(data.tobytes())
        volume = datasets.labels(tmp_path / "S01.hdr")
        assert volume.geometry.size == (6, 7, 5)
        assert np.array_equal(volume.data, data)
        assert header(tmp_path / "S01.hdr").same_grid(volume.geometry)


class TestDirLab:
    """Raw numbers without a header, landmarks in voxels from 1, names that differ from case to case."""

    SIZE = (8, 6, 4)

    @pytest.fixture
    def small(self, monkeypatch):
        for table in (dirlab.FOUR_D_CT, dirlab.COPDGENE):
            for case in list(table):
                monkeypatch.setitem(table, case, (self.SIZE, table[case][1]))

    def raw(self, path):
        values = np.zeros(self.SIZE[::-1], "<i2")
        values[1, 2, 3] = 1500  # k, j, i
        values[0, 0, 0] = -2000
        path.parent.mkdir(parents=True, exist_ok=True)
        values.tofile(path)

    def case(self, folder, images, points, separator="\t"):
        for name in images:
            self.raw(folder / "Images" / name)
        for number, name in enumerate(points):
            rows(folder / "extremePhases" / name, [[4, 3, 2 + number]], separator)

    def test_4dct_by_all_the_names_it_has(self, small, tmp_path):
        folder = tmp_path / "dirlab-4dct"
        self.case(
            folder / "Case1Pack",
            ["case1_T00_s.img", "case1_T50_s.img", "case1_T10_s.img"],
            ["Case1_300_T00_xyz.txt", "Case1_300_T50_xyz.txt"],
        )
        self.case(
            folder / "Case2Pack",
            ["case2_T00-ssm.img", "case2_T50-ssm.img"],
            ["Case2_300_T00_xyz.txt", "Case2_300_T50_xyz.txt"],
        )
        for case in (8, 10):
            self.case(
                folder / ("Case8Deploy" if case == 8 else "Case10Pack"),
                [f"case{case}_T00.img", f"case{case}_T50.img"],
                [f"case{case}_dirLab300_T00_xyz.txt", f"case{case}_dirLab300_T50_xyz.txt"],
            )
        pairs = dirlab.cases(dirlab.FOUR_D, tmp_path, kept=tmp_path / "kept")
        assert [pair.name for pair in pairs] == [f"4DCT case {n}" for n in (1, 2, 8, 10)]
        for pair in pairs:
            points = pair.landmarks()["all"]
            volume = Volume.read(pair.fixed)
            # The landmark is the bright voxel: (4, 3, 2) counted from 1 is [k 1, j 2, i 3] counted from 0.
            index = np.rint(volume.geometry.point_to_index(points.fixed[0])).astype(int)
            assert volume.data[tuple(index[::-1])] == 1500 - 1024
            # One slice further in the moving image: 2.5 mm lower, since the first slice is the topmost.
            assert points.moving[0] - points.fixed[0] == pytest.approx([0, 0, -2.5], abs=1e-4)
            assert volume.data.min() == -1024
        assert header(pairs[1].fixed).spacing == pytest.approx((1.16, 1.16, 2.5))

    def test_copdgene(self, small, tmp_path):
        folder = tmp_path / "copd" / "copd4" / "copd4"
        for side, point in (("i", [4, 3, 2]), ("e", [4, 2, 2])):
            self.raw(folder / f"copd4_{side}BHCT.img")
            rows(folder / f"copd4_300_{side}BH_xyz_r1.txt", [point], "\t")
        pair = only(dirlab.cases(dirlab.COPD, tmp_path, kept=tmp_path / "kept"))
        points = pair.landmarks()["all"]
        assert points.moving[0] - points.fixed[0] == pytest.approx([0, -0.59, 0], abs=1e-4)
        volume = Volume.read(pair.fixed)
        moved = Rigid.identity().resample(volume, volume.geometry)
        assert moved.data[1, 2, 3] == volume.data.max()

    def test_a_truncated_image_is_refused_and_nothing_kept(self, small, tmp_path):
        self.case(
            tmp_path / "Case3Pack",
            ["case3_T00-ssm.img", "case3_T50-ssm.img"],
            ["Case3_300_T00_xyz.txt", "Case3_300_T50_xyz.txt"],
        )
        path = tmp_path / "Case3Pack" / "Images" / "case3_T00-ssm.img"
        path.write_bytes(path.read_bytes()[:-2])
        with pytest.raises(FileError, match="191 numbers, and case 3 of 4DCT has 8x6x4"):
            dirlab.cases(dirlab.FOUR_D, tmp_path, kept=tmp_path / "kept")
        assert not (tmp_path / "kept").exists()

    def test_the_tables_are_those_of_the_data_page(self):
        """Sums of what the page lists, so that a slip in one number is found."""
        assert sum(size[2] for size, _ in dirlab.FOUR_D_CT.values()) == 1155
        assert sum(spacing for _, spacing in dirlab.FOUR_D_CT.values()) == pytest.approx(10.36)
        assert sum(size[2] for size, _ in dirlab.COPDGENE.values()) == 1203
        assert sum(spacing for _, spacing in dirlab.COPDGENE.values()) == pytest.approx(6.409)


class TestManifest:
    TEXT = """
        name = "knees"
        held_out = ["test"]
        points = "{points}"
        [files]
        image = "images/{{name}}.nii.gz"
        labels = "labels/{{name}}.nii.gz"
        mask = "masks/{{name}}.nii.gz"
        landmarks = "points/{{fixed}}-{{moving}}/{{name}}.csv"
        [label_names]
        2 = "femur"
        [splits]
        development = [["a", "b"], ["b", "a"]]
        test = [["a", "c"]]
    """

    @pytest.fixture
    def folder(self, tmp_path):
        for name in "abc":
            write(tmp_path / "images" / f"{name}.nii.gz")
            write(tmp_path / "labels" / f"{name}.nii.gz", 2)
            write(tmp_path / "masks" / f"{name}.nii.gz", 1)
        for pair in ("ab", "ba", "ac"):
            for number, name in enumerate(pair):
                rows(tmp_path / "points" / "-".join(pair) / f"{name}.csv", [[1, 2, 3 + number]])
        (tmp_path / "manifest.toml").write_text(self.TEXT.format(points="LPS"))
        return tmp_path

    def test_pairs_of_a_split(self, folder):
        pair = only(datasets.load(str(folder), Path("nowhere")))
        assert pair.name == "knees a<-c" and pair.held_out
        assert pair.fixed == folder / "images" / "a.nii.gz" and pair.moving_labels == folder / "labels" / "c.nii.gz"
        assert pair.mask == folder / "masks" / "a.nii.gz" and pair.label_names == {2: "femur"}
        both = datasets.load(f"{folder}@development", Path("nowhere"))
        assert [p.name for p in both] == ["knees a<-b", "knees b<-a"] and not any(p.held_out for p in both)

    @pytest.mark.parametrize(
        ("points", "expected"),
        [("LPS", [1, 2, 3]), ("RAS", [-1, -2, 3]), ("voxels", GRID.index_to_point([1, 2, 3]))],
    )
    def test_coordinates_of_landmarks(self, folder, points, expected):
        (folder / "manifest.toml").write_text(self.TEXT.format(points=points))
        landmarks = only(manifest.from_manifest(folder)).landmarks()["all"]
        assert landmarks.fixed[0] == pytest.approx(np.array(expected), abs=1e-4)

    @pytest.mark.parametrize(
        ("old", "new", "message"),
        [
            ('name = "knees"', "", "'name' is missing"),
            ('name = "knees"', 'name = "knees"\nspacing = 1', "'spacing' is unknown"),
            ("images/{name}", "images/{number}", "{name}, {fixed} and {moving}"),
            ('"LPS"', '"mm"', "points is 'mm'"),
            ('["a", "c"]', '["a"]', "two names"),
            ('["a", "c"]', '["a", "c c"]', "without blanks"),
            ('["a", "c"]', '["a", "d"]', "d.nii.gz is missing"),
            ('held_out = ["test"]', 'held_out = ["final"]', "final, which is no split"),
            ("[splits]", "[splits", "not valid TOML"),
        ],
    )
    def test_mistakes_are_said(self, folder, old, new, message):
        text = (folder / "manifest.toml").read_text()
        (folder / "manifest.toml").write_text(text.replace(old, new))
        with pytest.raises((FileError, InputError), match=message):
            manifest.from_manifest(folder)

    def test_what_is_no_data_set_is_refused(self, tmp_path):
        with pytest.raises(InputError, match="no data set"):
            datasets.load(str(tmp_path), tmp_path)
        with pytest.raises(InputError, match="no split 'final'"):
            (tmp_path / "manifest.toml").write_text(self.TEXT.format(points="LPS"))
            datasets.load(f"{tmp_path}@final", tmp_path)


def test_pairs_of_the_shared_data_stay_what_published_results_were_measured_on(tmp_path):
    """The draw of the hippocampus pairs, from the names of 200 files."""
    for number in range(200):
        path = tmp_path / "hippocampus" / "images" / f"hippocampus_{number:03d}.nii.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    names = [pair.name for pair in datasets.DATASETS["hippocampus"](tmp_path, None)]
    assert len(names) == 100 and all(160 <= int(n) < 200 for name in names for n in name[12:].split("<-"))
    assert names[:3] == ["hippocampus 179<-171", "hippocampus 166<-163", "hippocampus 199<-169"]


def test_what_is_held_out_of_the_shared_data_is_not_for_development(tmp_path):
    for number in range(200):
        path = tmp_path / "hippocampus" / "images" / f"hippocampus_{number:03d}.nii.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    found = {
        name: datasets.DATASETS[name](tmp_path)
        for name in ("brains", "lung", "liver", *(f"hippocampus{part}" for part in ("", "-development", "-validation")))
    }
    assert [pair.held_out for pair in found["brains"]] == 3 * [False] + 7 * [True]
    for name in ("lung", "liver", "hippocampus"):
        assert found[name] and all(pair.held_out for pair in found[name])
    seen = [datasets.DATASETS["brains-development"](tmp_path), found["hippocampus-development"]]
    seen.append(found["hippocampus-validation"])
    assert not any(pair.held_out for pairs in seen for pair in pairs)
    # No image of a pair that is held out is seen before.
    kept = {side for pairs in found.values() for pair in pairs if pair.held_out for side in (pair.fixed, pair.moving)}
    assert not kept & {side for pairs in seen for pair in pairs for side in (pair.fixed, pair.moving)}
