"""How a picture that is not square becomes one: cut, with a border, or squeezed; as its pack says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import oneway
from oneway.cli import main
from oneway.data.readers import celeba, folder, huggingface, webdataset
from oneway.data.readers.dataset import from_dataset
from oneway.data.source import Source, fitted, synthetic_source
from oneway.errors import InputError
from test_webdataset import people, shard
from trees import celeba_tree, photograph

PIXELS = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)


def padded(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width, _ = pixels.shape
    down, across = max(0, width - height), max(0, height - width)
    around = ((down // 2, down - down // 2), (across // 2, across - across // 2), (0, 0))
    return np.pad(pixels, around, mode="edge")


def tree(root: Path, pixels: NDArray[np.uint8] = PIXELS, **saved: Any) -> Source:
    root.mkdir(exist_ok=True)
    Image.fromarray(pixels).save(root / "a.png", **saved)
    return folder.read(root)


@pytest.mark.parametrize("pixels", [PIXELS, PIXELS[:, :23], PIXELS[:30, :30], PIXELS[:1], PIXELS[:, :1]])
def test_padding_keeps_every_pixel_and_repeats_the_edge(tmp_path: Path, pixels: NDArray[np.uint8]) -> None:
    side = max(pixels.shape[:2])
    found = fitted(tree(tmp_path, pixels), "pad").reader(0, side)
    np.testing.assert_array_equal(found, padded(pixels))


def test_padding_scales_both_sides_alike(tmp_path: Path) -> None:
    found = fitted(tree(tmp_path), "pad").reader(0, 20)
    inner = np.asarray(Image.fromarray(PIXELS).resize((20, 15), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(found[2:17], inner)
    np.testing.assert_array_equal(found[[0, 1, 17, 19]], np.stack([inner[0], inner[0], inner[-1], inner[-1]]))


def test_stretching_shows_the_whole_picture(tmp_path: Path) -> None:
    found = fitted(tree(tmp_path), "stretch").reader(0, 16)
    np.testing.assert_array_equal(found, np.asarray(Image.fromarray(PIXELS).resize((16, 16), 2)))


@pytest.mark.parametrize("fit", ["pad", "stretch"])
def test_it_is_fitted_as_it_is_seen(tmp_path: Path, fit: Any) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = fitted(tree(tmp_path / "turned", PIXELS[:29], exif=exif), fit).reader(0, 40)
    upright = fitted(tree(tmp_path / "upright", np.rot90(PIXELS[:29], -1)), fit).reader(0, 40)
    np.testing.assert_array_equal(turned, upright)


@pytest.mark.parametrize("fit", ["pad", "stretch"])
def test_a_large_jpeg_is_read_as_finely_as_its_square_needs(tmp_path: Path, fit: Any) -> None:
    photograph(tmp_path / "a.jpg", 1600, 200)
    with Image.open(tmp_path / "a.jpg") as image:
        whole = image.convert("RGB")
    found = fitted(folder.read(tmp_path), fit).reader(0, 64).astype(int)
    size = (64, 64) if fit == "stretch" else (64, 8)
    inner = found if fit == "stretch" else found[28:36]
    assert np.abs(inner - np.asarray(whole.resize(size, Image.Resampling.BILINEAR)).astype(int)).mean() < 3


def sources(tmp_path: Path) -> dict[str, Source]:
    """The middle of one picture, by every reader that takes pictures of any shape."""
    import pyarrow as pa
    import pyarrow.parquet as parquet

    shard(tmp_path / "a.tar", people(0, 3))
    source = tree(tmp_path / "tree")
    content = (tmp_path / "tree" / "a.png").read_bytes()
    table = pa.table({"image": [{"bytes": content, "path": None}], "smiling": [True]})
    features = {"image": {"_type": "Image"}, "smiling": {"dtype": "bool", "_type": "Value"}}
    told = {b"huggingface": json.dumps({"info": {"features": features}}).encode()}
    (tmp_path / "rows").mkdir()
    parquet.write_table(table.replace_schema_metadata(told), tmp_path / "rows" / "a.parquet")
    return {
        "folder": source,
        "webdataset": webdataset.read(str(tmp_path / "a.tar")),
        "huggingface": huggingface.read(str(tmp_path / "rows")),
        "dataset": from_dataset([(PIXELS, 0)]),
    }


@pytest.mark.parametrize("layout", ["folder", "webdataset", "huggingface", "dataset"])
def test_every_reader_of_pictures_of_any_shape_takes_it(tmp_path: Path, layout: str) -> None:
    source = sources(tmp_path)[layout]
    assert source.crop == fitted(source, "crop").crop == "the largest square in the middle"
    texts = {fit: fitted(source, fit).crop for fit in ("crop", "pad", "stretch")}  # type: ignore[arg-type]
    assert len(set(texts.values())) == 3
    stretched = fitted(source, "stretch").reader(0, 16)
    assert stretched.shape == (16, 16, 3)
    assert (stretched != source.reader(0, 16)).any()


def test_what_cuts_its_pictures_in_its_own_way_is_not_fitted(tmp_path: Path) -> None:
    for source in (celeba.read(celeba_tree(tmp_path)), synthetic_source(4, 1, 0)):
        with pytest.raises(InputError, match=f"fit: pad .*the {source.layout} layout.*{source.crop}"):
            fitted(source, "pad")
    with pytest.raises(InputError, match="fit: must be crop, pad or stretch, not 'squash'"):
        fitted(tree(tmp_path / "tree"), "squash")  # type: ignore[arg-type]


def many(root: Path) -> Path:
    for place in range(24):
        photograph(root / f"{place:02}.png", 40 + place, 30, place)
    return root


@pytest.mark.parametrize("fit", ["pad", "stretch"])
def test_a_pack_says_how_and_a_linked_one_shows_the_same(tmp_path: Path, fit: Any) -> None:
    source = folder.read(many(tmp_path / "tree"))
    given: dict[str, Any] = {"size": 16, "jobs": 1, "progress": False}
    packed = oneway.prepare(source, tmp_path / "packed", fit=fit, **given)
    linked = oneway.prepare(source, tmp_path / "linked", fit=fit, linked=True, **given)
    other = oneway.prepare(source, tmp_path / "crop", linked=True, **given)
    np.testing.assert_array_equal(packed.test.images(slice(None)), linked.test.images(slice(None)))
    told = [json.loads((pack.path / "pack.json").read_text()) for pack in (packed, linked)]
    assert told[0]["crop"] == told[1]["crop"] == fitted(source, fit).crop
    assert linked.hash != other.hash
    assert told[1]["linked"]["fit"] == fit


def test_the_command_line_takes_it_with_the_size(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = str(many(tmp_path / "tree"))
    main(["prepare", "folder", root, "--size", "16:pad", "--jobs", "1", "--out", str(tmp_path / "o")])
    assert "repeated" in json.loads((tmp_path / "o" / "pack.json").read_text())["crop"]
    for size, said in (("16:squash", "must be crop, pad or stretch"), ("pad", "size: must be"), ("16:", "crop, pad")):
        with pytest.raises(SystemExit):
            main(["prepare", "folder", root, "--size", size, "--out", str(tmp_path / "p")])
        assert said in " ".join(capsys.readouterr().err.split())


def test_landmarks_of_the_middle_square_are_not_carried_elsewhere(tmp_path: Path) -> None:
    from dataclasses import replace

    source = replace(tree(tmp_path), landmarks=np.zeros((1, 5, 2)))
    with pytest.raises(InputError, match=r"fit: stretch .*landmarks"):
        fitted(source, "stretch")
