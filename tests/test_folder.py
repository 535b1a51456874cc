from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from PIL import Image

from oneway.data.picture import CorruptImage
from oneway.data.readers import folder
from oneway.errors import InputError
from trees import folder_tree, photograph, truncate

# In another order than the images, to show that they are matched by name.
ROWS = ["b/4.BMP,1,-1,true,x", "a/1.jpg,0,1,False,y", "b/3.webp,1,1,TRUE,", "a/2.png,0,-1,false,x"]


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n")
    return path


def table(tmp_path: Path, *, head: str = "file,one,two,three,person") -> Path:
    return write(tmp_path / "labels.csv", head, *ROWS)


def test_without_labels(tmp_path: Path) -> None:
    source = folder.read(folder_tree(tmp_path))
    assert source.names == ("a/1.jpg", "a/2.png", "b/3.webp", "b/4.BMP")
    assert (source.attributes, source.identities, source.partition, source.landmarks) == (
        (),
        None,
        None,
        None,
    )
    assert source.labels.shape == (4, 0)
    assert all(source.reader(index, 16).shape == (16, 16, 3) for index in range(4))


def test_labels_that_are_not_there_are_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"--labels .*nowhere\.csv does not exist"):
        folder.read(folder_tree(tmp_path / "images"), tmp_path / "nowhere.csv")


def test_csv_is_matched_by_name(tmp_path: Path) -> None:
    source = folder.read(folder_tree(tmp_path / "images"), table(tmp_path))
    assert source.attributes == ("one", "two", "three")
    assert source.labels.astype(int).tolist() == [[0, 1, 0], [0, 0, 0], [1, 1, 1], [1, 0, 1]]
    assert source.identities == ("y", "x", "", "x")


def test_parquet_gives_the_same(tmp_path: Path) -> None:
    columns = {
        "path": ["b/4.BMP", "a/1.jpg", "b/3.webp", "a/2.png"],
        "one": [1, 0, 1, 0],
        "two": [-1.0, 1.0, 1.0, -1.0],
        "three": [True, False, True, False],
        "identity": ["x", "y", None, "x"],
    }
    parquet.write_table(pa.table(columns), tmp_path / "labels.parquet")
    root = folder_tree(tmp_path / "images")
    source = folder.read(root, tmp_path / "labels.parquet")
    other = folder.read(root, table(tmp_path))
    assert np.array_equal(source.labels, other.labels)
    assert source.identities == other.identities


def test_names_with_leading_zeros_stay_text(tmp_path: Path) -> None:
    folder_tree(tmp_path, ("0001.jpg", "0002.jpg"))
    source = folder.read(
        tmp_path, write(tmp_path / "l.csv", "\ufeffimage_id,identity,a", "0002.jpg,007,1", "0001.jpg,7,0")
    )
    assert source.identities == ("7", "007")


def test_chosen_columns_and_split(tmp_path: Path) -> None:
    folder_tree(tmp_path / "i", ("1.jpg", "2.jpg"))
    path = write(tmp_path / "l.csv", "picture,who,file,split,person", "1.jpg,ann,1,train,0", "2.jpg,bob,0,test,1")
    source = folder.read(tmp_path / "i", path, identity="who", name="picture")
    assert source.identities == ("ann", "bob")
    assert source.partition == ("train", "test")
    assert source.attributes == ("file", "person")


def test_crop_is_the_middle_and_exif_is_heeded(tmp_path: Path) -> None:
    pixels = np.zeros((30, 50, 3), dtype=np.uint8)
    pixels[:, 10:40] = 255
    pixels[:15, 10:25] = (255, 0, 0)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    exif = Image.Exif()
    exif[0x0112] = 6  # turned clockwise by a quarter
    Image.fromarray(pixels).save(tmp_path / "b.jpg", exif=exif, quality=100, subsampling=0)
    source = folder.read(tmp_path)
    upright, turned = source.reader(0, 30), source.reader(1, 30)
    assert np.array_equal(upright, pixels[:, 10:40])
    assert np.abs(np.rot90(upright, -1).astype(int) - turned)[3:-3, 3:-3].mean() < 4
    assert turned[5, 24].tolist() == pytest.approx([255, 0, 0], abs=6)


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK", "1"])
def test_other_modes_become_rgb(tmp_path: Path, mode: str) -> None:
    name = "a.jpg" if mode == "CMYK" else "a.png"
    Image.new("RGB", (40, 40), (200, 200, 200)).convert(mode).save(tmp_path / name)
    assert folder.read(tmp_path).reader(0, 16).shape == (16, 16, 3)


def test_large_photographs_are_reduced_like_small_ones(tmp_path: Path) -> None:
    photograph(tmp_path / "a.jpg", 2000, 1500)
    photograph(tmp_path / "b.bmp", 2000, 1500)
    source = folder.read(tmp_path)
    difference = source.reader(0, 32).astype(int) - source.reader(1, 32)
    assert np.abs(difference).mean() < 2


def test_images_that_cannot_be_used(tmp_path: Path) -> None:
    truncate(photograph(tmp_path / "a.jpg", 200, 200))
    truncate(photograph(tmp_path / "b.png", 200, 200))
    (tmp_path / "c.webp").write_bytes(b"RIFF")
    Image.fromarray(np.zeros((20, 20), dtype=np.int32)).save(tmp_path / "d.tiff")
    source = folder.read(tmp_path)
    for index, name in enumerate(source.names):
        with pytest.raises(CorruptImage, match=f"{name}: cannot be decoded"):
            source.reader(index, 16)


def test_hidden_files_are_not_images(tmp_path: Path) -> None:
    folder_tree(tmp_path, ("a.jpg", "._a.jpg", ".cache/b.jpg"))
    assert folder.read(tmp_path).names == ("a.jpg",)


def test_linked_folders_are_followed_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder_tree(tmp_path / "elsewhere", ("1.jpg", "deep/2.jpg"))
    root = folder_tree(tmp_path / "faces", ("a/3.jpg",))
    (root / "linked").symlink_to(tmp_path / "elsewhere")
    (root / "again").symlink_to(root / "a")
    (root / "a" / "loop").symlink_to(root)
    assert folder.read(root).names == ("a/3.jpg", "linked/1.jpg", "linked/deep/2.jpg")
    assert {Path(record.message.split(": ")[0]).name for record in caplog.records} == {"again", "loop"}


@pytest.mark.parametrize("suffix", ["jpg", "jpeg", "jfif", "png", "webp", "bmp", "gif", "tif", "tiff", "JPG"])
def test_pictures_of_every_announced_suffix_are_found(tmp_path: Path, suffix: str) -> None:
    Image.new("RGB", (20, 20), "red").save(tmp_path / "saved.png")
    (tmp_path / "saved.png").rename(tmp_path / f"a.{suffix}")
    assert folder.read(tmp_path).names == (f"a.{suffix}",)


def test_what_is_passed_over_is_counted_by_suffix(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = folder_tree(tmp_path, ("a/1.jpg",))
    for name in ("a/2.HEIC", "3.heic", "a/notes.txt", "LICENSE"):
        (root / name).write_text("")
    labels = write(root / "labels.csv", "file,Smiling", "a/1.jpg,1")
    folder.read(root, labels)
    assert "files that are no images, 4, are passed over: 2 .heic (3.heic, ...)" in caplog.text
    assert "1 .txt (a/notes.txt)" in caplog.text
    assert "1 without a suffix (LICENSE)" in caplog.text
    assert "--labels" not in caplog.text
    folder.read(root)
    assert f"; if {labels} holds labels, give it with --labels" in caplog.text
    (root / "a" / "1.jpg").unlink()
    with pytest.raises(InputError, match=r"holds no image .*beside 2 \.heic \(3\.heic, \.\.\.\)"):
        folder.read(root)


def test_a_name_that_is_no_utf_8_is_named_before_anything_is_read(tmp_path: Path) -> None:
    place = Path(os.fsdecode(os.fsencode(tmp_path) + b"/gr\xfc\xdfe.jpg"))
    photograph(tmp_path / "a.jpg", 30, 30).rename(place)
    with pytest.raises(InputError, match=r"udcfc.*udcdfe\.jpg.*is no UTF-8"):
        folder.read(tmp_path)


@pytest.mark.parametrize("spelled", ["./a/Zoë.jpg", r"a\Zoë.jpg", "a//Zoë.jpg", r".\a\Zoë.jpg", "a/Zoe\u0308.jpg"])
def test_paths_of_a_table_may_be_spelled_as_another_system_does(tmp_path: Path, spelled: str) -> None:
    folder_tree(tmp_path / "i", ("a/Zoë.jpg", "b.jpg"))
    labels = write(tmp_path / "l.csv", "file,Smiling", f"{spelled},1", "b.jpg,0")
    assert folder.read(tmp_path / "i", labels).labels[:, 0].tolist() == [True, False]


def test_the_name_is_not_the_identity(tmp_path: Path) -> None:
    folder_tree(tmp_path / "i", ("1.jpg", "2.jpg"))
    labels = write(tmp_path / "l.csv", "person,Smiling", "1.jpg,1", "2.jpg,0")
    source = folder.read(tmp_path / "i", labels, name="person")
    assert (source.identities, source.attributes) == (None, ("Smiling",))
    with pytest.raises(InputError, match="column 'person' cannot be both the name and the identity"):
        folder.read(tmp_path / "i", labels, name="person", identity="person")


def test_a_folder_named_like_a_column_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "seed=1" / "part=x"
    folder_tree(place / "i", ("1.jpg",))
    parquet.write_table(pa.table({"file": ["1.jpg"], "a": [1]}), place / "l.parquet")
    read_table, given = parquet.read_table, []
    # Older versions of pyarrow make columns of such folders unless they are told not to.
    monkeypatch.setattr(parquet, "read_table", lambda path, **way: (given.append(way), read_table(path, **way))[1])
    assert folder.read(place / "i", place / "l.parquet").attributes == ("a",)
    assert given == [{"partitioning": None}]


def test_no_folder_no_image(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        folder.read(tmp_path / "none")
    with pytest.raises(InputError, match=r"holds no image \(.jpg"):
        folder.read(tmp_path)


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["file,a", "1.jpg,1"], "1 images have no row: 2.jpg; add rows"),
        (
            ["file,a", "1.jpg,1", "2.jpg,0", "3.jpg,1", "4.jpg,1"],
            "2 rows have no image: 3.jpg, 4.jpg; delete",
        ),
        (["file,a", "1.jpg,1", "2.jpg,0", "1.jpg,1"], "1 images have more than one row: 1.jpg; keep one"),
        (["photo,a", "one,1", "two,0"], "no column is called image, .* its columns are: photo, a"),
        (
            ["file,age", "1.jpg,unknown", "2.jpg,31"],
            "column 'age', row 1: is 'unknown', and 1 rows are numbers; .* must be numbers .* or words",
        ),
        (["file,a", "1.jpg,", "2.jpg,"], "column 'a' is empty in every row"),
        (["file,a", "1.jpg,12", "2.jpg,nan"], "attribute 'a', row 2: must be a finite number, it is nan; .* empty"),
        (["file,a,split", "1.jpg,1,train", "2.jpg,0,holdout"], "column 'split', row 2: .* it is 'holdout'; correct"),
        (["file,a,a", "1.jpg,1,1", "2.jpg,0,0"], "column 'a' is there twice"),
        (["file,a", "1.jpg,1,1", "2.jpg,0"], "cannot be read as a table"),
        ([",file,a", "0,1.jpg,1", "1,2.jpg,0"], "column 1 has no name"),
        (["file,a, a", "1.jpg,1,1", "2.jpg,0,0"], "column 'a' is there twice"),
        (["file,name", "1.jpg,1", "2.jpg,0"], "attribute 'name': .* rename that column"),
        ([], "cannot be read as a table"),
    ],
)
def test_tables_that_do_not_fit(tmp_path: Path, lines: list[str], words: str) -> None:
    folder_tree(tmp_path, ("1.jpg", "2.jpg"))
    with pytest.raises(InputError, match=words):
        folder.read(tmp_path, write(tmp_path / "labels.csv", *lines))


def test_many_names_are_shortened(tmp_path: Path) -> None:
    folder_tree(tmp_path, ("1.jpg",))
    rows = [f"x{index}.jpg,1" for index in range(9)]
    with pytest.raises(InputError, match=r"9 rows have no image: x0.jpg, x1.jpg, x2.jpg, \.\.\.; delete"):
        folder.read(tmp_path, write(tmp_path / "labels.csv", "file,a", "1.jpg,1", *rows))


def test_files_that_are_no_tables(tmp_path: Path) -> None:
    folder_tree(tmp_path, ("1.jpg",))
    (tmp_path / "bad.parquet").write_bytes(b"not parquet")
    (tmp_path / "latin.csv").write_bytes("file,größe\n1.jpg,1\n".encode("latin-1"))
    for name in ("bad.parquet", "latin.csv"):
        with pytest.raises(InputError, match=f"{name}: cannot be read as a table"):
            folder.read(tmp_path, tmp_path / name)
    with pytest.raises(InputError, match=r"labels.xlsx: labels must be a .csv, .tsv or .parquet file"):
        folder.read(tmp_path, tmp_path / "labels.xlsx")
    parquet.write_table(pa.table({"file": ["1.jpg"], "a": [[1, 2]]}), tmp_path / "list.parquet")
    with pytest.raises(InputError, match="column 'a'"):
        folder.read(tmp_path, tmp_path / "list.parquet")


def test_unknown_columns_offer_the_nearest(tmp_path: Path) -> None:
    root = folder_tree(tmp_path / "images")
    with pytest.raises(InputError, match="identity column 'persn' does not exist; did you mean 'person'"):
        folder.read(root, table(tmp_path), identity="persn")
    with pytest.raises(InputError, match="name column 'fil' does not exist; did you mean 'file'"):
        folder.read(root, table(tmp_path), name="fil")
    with pytest.raises(InputError, match="none is given; give --labels"):
        folder.read(root, identity="person")
