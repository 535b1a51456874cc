from __future__ import annotations

import io
import json
import pickle
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import oneway
from oneway.data.picture import CorruptImage
from oneway.data.prepare import prepare
from oneway.data.readers import folder, webdataset
from oneway.errors import InputError
from trees import photograph

Samples = Mapping[str, Mapping[str, Any] | None]


def shard(path: Path, samples: Samples, *, suffix: str = ".jpg", mode: str = "w") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        for place, (key, labels) in enumerate(samples.items()):
            image = photograph(path.parent / f"loose{suffix}", 40 + place, 30, place).read_bytes()
            files = {f"{key}{suffix}": image}
            if labels is not None:
                files[f"{key}.json"] = json.dumps(labels).encode()
            for name, content in files.items():
                info = tarfile.TarInfo(name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    (path.parent / f"loose{suffix}").unlink()
    return path


def people(first: int, count: int) -> dict[str, dict[str, Any]]:
    return {
        f"set/{number:05d}": {"identity": number // 2, "Smiling": number % 2, "Young": number % 3 == 0}
        for number in range(first, first + count)
    }


def test_samples_of_several_shards_are_one_source(tmp_path: Path) -> None:
    shard(tmp_path / "b.tar", people(6, 4))
    shard(tmp_path / "a.tar", people(0, 6))
    source = webdataset.read(str(tmp_path / "*.tar"))
    assert source.names == tuple(f"set/{number:05d}" for number in range(10))
    assert source.attributes == ("Smiling", "Young")
    assert source.labels[:, 0].astype(int).tolist() == [0, 1] * 5
    assert source.identities == tuple(str(number // 2) for number in range(10))
    assert source.partition is None


def test_pictures_are_those_of_the_files(tmp_path: Path) -> None:
    shard(tmp_path / "a.tar", dict.fromkeys(("x", "y"), None), suffix=".png")
    source = webdataset.read(str(tmp_path / "a.tar"))
    assert source.attributes == ()
    for place in range(2):
        photograph(tmp_path / "loose" / f"{place}.png", 40 + place, 30, place)
    loose = folder.read(tmp_path / "loose")
    reader = pickle.loads(pickle.dumps(source.reader))  # other processes read too
    for place in range(2):
        np.testing.assert_array_equal(reader(place, 16), loose.reader(place, 16))


def test_shards_are_packed(tmp_path: Path) -> None:
    shard(tmp_path / "a.tar", people(0, 24))
    pack = prepare(webdataset.read(str(tmp_path / "a.tar")), tmp_path / "pack", size=16, jobs=1, progress=False)
    assert isinstance(pack, oneway.Pack)
    assert len(pack.private) + len(pack.public) + len(pack.validation) + len(pack.test) == 24
    assert pack.attributes == ("Smiling", "Young")


def test_an_official_split_is_kept(tmp_path: Path) -> None:
    samples = {name: row | {"split": "test" if row["Young"] else "train"} for name, row in people(0, 6).items()}
    shard(tmp_path / "a.tar", samples)
    source = webdataset.read(str(tmp_path / "a.tar"))
    assert source.partition == ("test", "train", "train", "test", "train", "train")
    assert source.attributes == ("Smiling", "Young")


def test_a_broken_picture_is_named_with_its_shard(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as tar:
        info = tarfile.TarInfo("x.jpg")
        info.size = 4
        tar.addfile(info, io.BytesIO(b"none"))
    with pytest.raises(CorruptImage, match=r"a\.tar: x: cannot be decoded"):
        webdataset.read(str(path)).reader(0, 16)


def test_what_does_not_fit_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no such file; give the tar files"):
        webdataset.read(str(tmp_path / "*.tar"))
    shard(tmp_path / "gz.tar", people(0, 2), mode="w:gz")
    with pytest.raises(InputError, match=r"gz\.tar: cannot be read as an uncompressed tar file"):
        webdataset.read(str(tmp_path / "gz.tar"))
    shard(tmp_path / "twice1.tar", people(0, 2))
    shard(tmp_path / "twice2.tar", people(1, 2))
    with pytest.raises(InputError, match=r"the key 'set/00001' is there twice"):
        webdataset.read(str(tmp_path / "twice*.tar"))
    shard(tmp_path / "silent.tar", people(0, 2) | {"alone": None})
    with pytest.raises(InputError, match=r"1 images have no \.json file: alone"):
        webdataset.read(str(tmp_path / "silent.tar"))
    shard(tmp_path / "odd.tar", people(0, 2) | {"odd": {"identity": 3, "Smiling": 1}})
    with pytest.raises(InputError, match=r"odd\.json: the field 'Young' is not in every sample"):
        webdataset.read(str(tmp_path / "odd.tar"))
    shard(tmp_path / "seven.tar", {"x": {"Smiling": 7}, "y": {"Smiling": 1}})
    with pytest.raises(InputError, match=r"column 'Smiling', row 1: an attribute must be 0 or 1"):
        webdataset.read(str(tmp_path / "seven.tar"))
    (tmp_path / "empty.tar").write_bytes(b"\0" * 10240)
    with pytest.raises(InputError, match=r"1 shards hold no image"):
        webdataset.read(str(tmp_path / "empty.tar"))
    shard(tmp_path / "list.tar", {"x": None})
    with tarfile.open(tmp_path / "list.tar", "a") as tar:
        info = tarfile.TarInfo("x.json")
        info.size = 2
        tar.addfile(info, io.BytesIO(b"[]"))
    with pytest.raises(InputError, match=r"x\.json: must be an object of attributes"):
        webdataset.read(str(tmp_path / "list.tar"))


def files(path: Path, content: Mapping[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, each in content.items():
            info = tarfile.TarInfo(name)
            info.size = len(each)
            tar.addfile(info, io.BytesIO(each))
    return path


def picture(path: Path) -> bytes:
    return photograph(path / "one.png", 30, 40).read_bytes()


def test_a_key_ends_at_the_first_point(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    one = picture(tmp_path)
    source = webdataset.read(str(files(tmp_path / "a.tar", {f"s/{key}.face.1.png": one for key in "xyz"})))
    assert source.names == ("s/x", "s/y", "s/z")
    content = {f"{key}.{kind}": one for key in "xy" for kind in ("png", "mask.png", "txt")}
    assert webdataset.read(str(files(tmp_path / "b.tar", content))).names == ("x", "y")
    assert "4 files are passed over: 2 .mask.png (x.mask.png, ...), 2 .txt" in caplog.text
    for names, words in (
        (("x.left.png", "x.right.png"), r"'x' has several images: \.left\.png, \.right\.png; a key ends at the first"),
        (("x.1.png", "x.2.png", "x.3.png"), "'x' has several images"),
        (("x.png", "y.mask.png"), r"'x' has the image \.png, 'y' has only \.mask\.png"),
    ):
        with pytest.raises(InputError, match=words):
            webdataset.read(str(files(tmp_path / "c.tar", dict.fromkeys(names, one))))
    with pytest.raises(InputError, match=r"hold no image .*beside 1 \.heic \(x\.heic\)"):
        webdataset.read(str(files(tmp_path / "d.tar", {"x.heic": b""})))


def test_classes_are_labels(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    one = picture(tmp_path)

    def shard_of(*classes: str) -> str:
        content = {f"{n}.png": one for n in range(len(classes))}
        content |= {f"{n}.cls": told.encode() for n, told in enumerate(classes)}
        return str(files(tmp_path / "a.tar", content))

    source = webdataset.read(shard_of("0", "1\n", "1"))
    assert (source.attributes, source.labels[:, 0].tolist()) == (("cls",), [False, True, True])
    source = webdataset.read(shard_of("7", "7", "9"), identity="cls")
    assert (source.identities, source.attributes) == (("7", "7", "9"), ())
    assert webdataset.read(shard_of("0", "1", "2")).attributes == ()
    assert "name 3 classes and are passed over" in caplog.text
    with pytest.raises(InputError, match=r"1\.cls is -1, which is no label"):
        webdataset.read(shard_of("1", "-1"))


@pytest.mark.parametrize("name", ["faces[64]", "{a,b}", "x?*"])
def test_brackets_in_the_path_of_what_is_there_are_no_pattern(tmp_path: Path, name: str) -> None:
    files(tmp_path / name / "a[0].tar", {"x.png": picture(tmp_path)})
    for pattern in (f"{name}/a[0].tar", f"{name}/*.tar"):
        assert webdataset.read(f"{tmp_path}/{pattern}").names == ("x",)
    source = webdataset.read(f"file://{tmp_path}/*/a*.tar")
    assert source.reader(0, 16).shape == (16, 16, 3)
