"""Photographs of people: faces are found by a detector in a file, and cut out as CelebA's are."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

import oneway
from oneway.cli import main
from oneway.data.detector import OUTPUTS, STRIDES, Detector
from oneway.data.readers import folder
from oneway.data.readers.celeba import LANDMARKS
from oneway.data.readers.faces import NO_FACE, SEVERAL, aligned
from oneway.errors import InputError

POINTS = np.array([[-1.0, -1.0], [2.0, -1.0], [0.5, 0.5], [-0.5, 2.0], [1.5, 2.0]])
"""Of a face, from the upper left corner of its blue square, in units of 8 pixels."""
DATA = Path(os.environ.get("ONEWAY_TEST_DATA", "../shared/data"))


def write_detector(path: Path, leave_out: str = "") -> Path:
    """Write a detector of YuNet's layout to which a blue square of 8 pixels is a face, larger if redder."""
    constants = {
        "blue": np.array([1, 0, 0], np.float32).reshape(1, 3, 1, 1) / 255,
        "red": np.array([0, 0, 1], np.float32).reshape(1, 3, 1, 1) / 255,
        "shape": np.array([1, -1, 1]),
        "none": np.zeros(1, np.float32),
        "box": np.log(np.array([np.exp(0.5), np.exp(0.5), 4, 4], np.float32)),
        "sizes": np.array([0, 0, 1, 1], np.float32),
        "points": POINTS.ravel().astype(np.float32),
        "axes": np.array([1]),
    }
    nodes = [
        helper.make_node("Conv", ["pictures", "blue"], ["blueness"]),
        helper.make_node("Conv", ["pictures", "red"], ["redness"]),
    ]
    for stride in STRIDES:
        pool = {"kernel_shape": [stride] * 2, "strides": [stride] * 2}
        for colour in ("blue", "red"):
            nodes += [
                helper.make_node("AveragePool", [f"{colour}ness"], [f"{colour}{stride}"], **pool),
                helper.make_node("Reshape", [f"{colour}{stride}", "shape"], [f"{colour}s{stride}"]),
            ]
        nodes += [
            helper.make_node("Mul", [f"blues{stride}", *(["blues8"] if stride == 8 else ["none"])], [f"cls_{stride}"]),
            helper.make_node("Identity", [f"blues{stride}"], [f"obj_{stride}"]),
            helper.make_node("Mul", [f"reds{stride}", "sizes"], [f"grown{stride}"]),
            helper.make_node("Add", [f"grown{stride}", "box"], [f"bbox_{stride}"]),
            helper.make_node("Mul", [f"reds{stride}", "none"], [f"nothing{stride}"]),
            helper.make_node("Add", [f"nothing{stride}", "points"], [f"kps_{stride}"]),
        ]
    outputs = [
        helper.make_tensor_value_info(f"{name}_{stride}", TensorProto.FLOAT, [1, None, length])
        for name, length in OUTPUTS.items()
        for stride in STRIDES
        if f"{name}_{stride}" != leave_out
    ]
    graph = helper.make_graph(
        nodes,
        "detector",
        [helper.make_tensor_value_info("pictures", TensorProto.FLOAT, [1, 3, "height", "width"])],
        outputs,
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_detector(tmp_path_factory.mktemp("detector") / "yunet.onnx")


def photograph(*faces: tuple[int, int, int], size: tuple[int, int] = (160, 128), seed: int = 0) -> Image.Image:
    """A photograph with faces (left, top, red), no two alike."""
    pixels = np.random.default_rng(seed).integers(0, 100, (size[1], size[0], 3), dtype=np.uint8)
    pixels[..., 2] = 0
    for left, top, red in faces:
        pixels[top : top + 8, left : left + 8] = (red, 0, 255)
    return Image.fromarray(pixels)


def test_outputs_are_read_in_pixels_and_the_largest_face_is_first(detector: Path) -> None:
    largest, other = Detector(detector)(photograph((24, 40, 0), (120, 80, 255)))
    np.testing.assert_allclose(largest.points, 8 * POINTS + [120, 80], atol=1e-3)
    np.testing.assert_allclose(other.points, 8 * POINTS + [24, 40], atol=1e-3)
    np.testing.assert_allclose(other.box, [24 + 4 - 16, 40 + 4 - 16, 32, 32], atol=1e-3)
    np.testing.assert_allclose(largest.box[2:], 32 * np.e, rtol=1e-5)


def test_faces_of_a_large_photograph_are_found_in_its_own_pixels(detector: Path) -> None:
    large = photograph((200, 120, 0), size=(640, 512)).resize((1600, 1280), Image.Resampling.NEAREST)
    (face,) = Detector(detector)(large)
    assert np.abs(face.points.mean(axis=0) - 2.5 * np.array([200, 120])).max() < 30


@pytest.mark.parametrize("angle", [0.0, 0.6, -2.0])
@pytest.mark.parametrize("shift", [(400, 300), (60, 80)])
def test_five_points_are_cut_out_where_celeba_has_them(angle: float, shift: tuple[int, int]) -> None:
    """Turned, far from the middle, or partly outside the photograph."""
    turn = 150 * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points = (np.array(LANDMARKS) - np.mean(LANDMARKS, axis=0)) @ turn.T + shift
    down, across = np.mgrid[:600, :800]
    for place in range(5):
        spot = np.exp(-(((across + 0.5 - points[place, 0]) ** 2 + (down + 0.5 - points[place, 1]) ** 2) / 40))
        picture = Image.fromarray(np.repeat(np.round(255 * spot).astype(np.uint8)[..., None], 3, axis=2))
        if not ((points[place] > 20) & (points[place] < (780, 580))).all():
            continue
        cut = np.asarray(aligned(picture, points, 75), dtype=np.float64)[..., 0]
        rows, columns = np.mgrid[:75, :75] + 0.5
        found = np.array([(cut * columns).sum(), (cut * rows).sum()]) / cut.sum() / 75
        np.testing.assert_allclose(found, LANDMARKS[place], atol=0.01)


def test_what_lies_outside_the_photograph_repeats_its_edge() -> None:
    points = 100 * np.array(LANDMARKS) - [60, 0]
    cut = np.asarray(aligned(Image.new("RGB", (50, 100), (10, 200, 30)), points, 32))
    assert (cut == (10, 200, 30)).all()


def tree(root: Path, *, faceless: bool = False) -> NDArray[np.str_]:
    root.mkdir()
    for index in range(24):
        face = () if faceless else ((48 + index, 56, 0),)
        photograph(*((left // 8 * 8, top, red) for left, top, red in face), seed=index).save(root / f"{index:02}.png")
    photograph(seed=99).save(root / "empty.png")
    photograph((24, 40, 0), (120, 80, 0), seed=98).save(root / "pair.png")
    photograph((24, 40, 255), (120, 80, 0), seed=97).save(root / "beside.png")
    return np.array(sorted(path.name for path in root.iterdir()))


def test_a_pack_has_the_faces_their_points_and_says_what_was_left_out(
    tmp_path: Path, detector: Path, caplog: pytest.LogCaptureFixture
) -> None:
    names = tree(tmp_path / "photographs")
    rows = "\n".join(f"{name},{place % 2},person {place // 2}" for place, name in enumerate(names))
    (tmp_path / "labels.csv").write_text(f"picture,smiling,person\n{rows}\n")
    with caplog.at_level(logging.WARNING):
        source = folder.read(tmp_path / "photographs", tmp_path / "labels.csv", align=detector)
    assert dict(source.skipped) == {"empty.png": NO_FACE, "pair.png": SEVERAL}
    assert "show smaller faces too; the largest is taken: beside.png" in caplog.text
    assert len(source.names) == len(source.labels) == 25
    made = dict(zip(names, range(len(names)), strict=True))
    assert [bool(row[0]) for row in source.labels] == [made[name] % 2 == 1 for name in source.names]
    pack = oneway.prepare(source, tmp_path / "pack", size=32, jobs=1, progress=False)
    assert np.abs(pack.test.landmarks(slice(None)) - LANDMARKS).max() < 0.2
    told = json.loads((tmp_path / "pack" / "pack.json").read_text())
    assert {(each["name"], each["reason"]) for each in told["skipped"]} == set(source.skipped)
    assert "CelebA" in told["crop"]


def test_a_picture_that_cannot_be_decoded_is_named_when_it_is_packed(tmp_path: Path, detector: Path) -> None:
    tree(tmp_path / "photographs")
    (tmp_path / "photographs" / "bad.jpg").write_bytes(b"no picture")
    source = folder.read(tmp_path / "photographs", align=detector)
    with pytest.raises(InputError, match=r"bad.jpg: cannot be decoded .*--skip-bad"):
        oneway.prepare(source, tmp_path / "pack", size=32, jobs=1, progress=False)
    pack = oneway.prepare(source, tmp_path / "pack", size=32, jobs=1, progress=False, skip_bad=True, resume=True)
    assert len(pack.pixels) == 25


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("absent.onnx", r"absent.onnx' is not a file; give an ONNX file of YuNet"),
        ("text.onnx", r"text.onnx' is not a readable ONNX file"),
        ("other.onnx", r"other.onnx is no face detector .* this lacks kps_32"),
    ],
)
def test_what_is_no_detector_is_one_line(
    tmp_path: Path, file: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    tree(tmp_path / "photographs")
    (tmp_path / "text.onnx").write_text("no graph")
    write_detector(tmp_path / "other.onnx", leave_out="kps_32")
    arguments = ["folder", str(tmp_path / "photographs"), "--align", str(tmp_path / file), "--out", str(tmp_path / "o")]
    with pytest.raises(SystemExit):
        main(["prepare", *arguments])
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    with pytest.raises(InputError, match=said):
        folder.read(tmp_path / "photographs", align=tmp_path / file)
    assert not (tmp_path / "o").exists()


def test_a_folder_without_a_face_and_a_table_with_points_are_refused(tmp_path: Path, detector: Path) -> None:
    root = tmp_path / "photographs"
    root.mkdir()
    photograph().save(root / "a.png")
    with pytest.raises(InputError, match=r"no face is found in any of 1 images by .*yunet.onnx; without --align"):
        folder.read(root, align=detector)
    points = ("lefteye", "righteye", "nose", "leftmouth", "rightmouth")
    columns = [f"{point}_{axis}" for point in points for axis in "xy"]
    (tmp_path / "l.csv").write_text(f"image,{','.join(columns)}\na.png,50,50,70,50,60,60,50,70,70,70\n")
    with pytest.raises(InputError, match="the table has landmarks, so the faces need not be found; leave out --align"):
        folder.read(root, tmp_path / "l.csv", align=detector)


@pytest.mark.skipif(not (DATA / "weights/yunet.onnx").is_file(), reason="the real detector and pictures are not here")
def test_the_real_detector_finds_celebas_points(tmp_path: Path) -> None:
    known = np.array([(69.6, 111.2), (107.9, 111.2), (88.1, 136.0), (71.8, 152.3), (105.4, 152.2)])
    detect = Detector(DATA / "weights/yunet.onnx")
    files = sorted((DATA / "celeba/img_align_celeba").glob("*.jpg"))[:20]
    faces = [detect(Image.open(file).convert("RGB"))[0] for file in files]
    errors = np.linalg.norm(np.array([face.points for face in faces]) - known, axis=2) / 148
    assert np.median(errors) < 0.03
