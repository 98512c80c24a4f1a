import io
import pkgutil
import tarfile
import zipfile
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from datasets import Dataset, Features, Value
from datasets import Image as ImageFeature
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.utils import Bunch
from support.hub import hub_with_digests
from support.paths import SHARED_DATA

import decant.data
from decant.core.errors import UserError
from decant.data import Source, newsgroups
from decant.data.digits import Digits
from decant.data.folder import Folder
from decant.data.newsgroups import Newsgroups
from decant.data.table import Table
from decant.preparation.decode import decode, decode_all

CLASSES = ["ants/1.jpg", "ants/2.PNG", "bees/1.jpg", "bees/deep/2.jpg"]
SPLITS = [f"train/{n}" for n in CLASSES] + [
    "val/ants/9.jpg",
    "test/bees/9.jpg",
    "unlabelled/a.jpg",
    "unlabelled/x/b.jpg",
]
CLUTTER = [".DS_Store", "ants/Thumbs.db", "__MACOSX/ants/._1.jpg", "ants/.1.jpg.part"]


def png(value: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (4, 4), (value, value, value)).save(file, "PNG")
    return file.getvalue()


def files(names: list[str]) -> dict[str, bytes]:
    return {name: png(i) for i, name in enumerate(names)}


def as_folder(content: dict[str, bytes], at: Path) -> Path:
    for name, data in content.items():
        (at / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        (at / "images" / name).write_bytes(data)
    return at / "images"


def as_zip(content: dict[str, bytes], at: Path) -> Path:
    with zipfile.ZipFile(at / "images.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.mkdir("ants")
        for name, data in content.items():
            archive.writestr(name, data)
    return at / "images.zip"


def as_tar(content: dict[str, bytes], at: Path, ending: str = "tar") -> Path:
    with tarfile.open(at / f"images.{ending}", f"w:{ending.partition('.')[2]}") as archive:
        for name, data in content.items():
            member = tarfile.TarInfo(f"./{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return at / f"images.{ending}"


PACK: dict[str, Callable[[dict[str, bytes], Path], Path]] = {
    "folder": as_folder,
    "zip": as_zip,
    "tar": as_tar,
    "tar.gz": lambda c, at: as_tar(c, at, "tar.gz"),
    "tar.xz": lambda c, at: as_tar(c, at, "tar.xz"),
}


def load(path: Path | str, **options: object) -> dict[str, pd.DataFrame]:
    return Folder(path=str(path), size=4, **options).load()


@pytest.mark.parametrize("around", ["", "hymenoptera_data/"])
@pytest.mark.parametrize("kind", PACK)
def test_folders_of_classes_are_one_table(kind: str, around: str, tmp_path: Path) -> None:
    content = files([*CLASSES[::-1], *CLUTTER])
    loaded = load(PACK[kind]({around + n: data for n, data in content.items()}, tmp_path))
    assert list(loaded) == ["train"]
    assert loaded["train"]["row_id"].tolist() == CLASSES
    assert loaded["train"]["target"].tolist() == ["ants", "ants", "bees", "bees"]
    assert loaded["train"]["input"].tolist() == [content[n] for n in CLASSES]


@pytest.mark.parametrize("around", ["", "hymenoptera_data/"])
@pytest.mark.parametrize("kind", PACK)
def test_folders_of_splits_are_a_table_each(kind: str, around: str, tmp_path: Path) -> None:
    loaded = load(PACK[kind]({around + n: data for n, data in files(SPLITS).items()}, tmp_path))
    assert {s: f["row_id"].tolist() for s, f in loaded.items()} == {
        "train": SPLITS[:4],
        "validation": ["val/ants/9.jpg"],
        "test": ["test/bees/9.jpg"],
        "unlabelled": ["unlabelled/a.jpg", "unlabelled/x/b.jpg"],
    }
    assert loaded["validation"]["target"].tolist() == ["ants"]
    assert "target" not in loaded["unlabelled"]


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    loaded = load(as_folder(files(["bus/1.jpg", "train/1.jpg"]), tmp_path))
    assert loaded["train"]["target"].tolist() == ["bus", "train"]


def test_linked_folders_and_files_are_read(tmp_path: Path) -> None:
    inside = as_folder(files(CLASSES), tmp_path)
    (tmp_path / "other").mkdir()
    (tmp_path / "other/ants").symlink_to(inside / "ants")
    (tmp_path / "other/bees").mkdir()
    (tmp_path / "other/bees/1.jpg").symlink_to(inside / "bees/1.jpg")
    assert load(tmp_path / "other")["train"]["row_id"].tolist() == CLASSES[:3]


def test_classes_can_be_chosen_and_unlabelled_images_stay(tmp_path: Path) -> None:
    loaded = load(as_folder(files(SPLITS), tmp_path), classes=["ants"])
    assert {s: len(f) for s, f in loaded.items()} == {"train": 2, "validation": 1, "unlabelled": 2}


def test_an_archive_can_come_by_url_and_its_digest_is_checked(tmp_path: Path) -> None:
    url = as_zip(files(CLASSES), tmp_path).as_uri()
    assert len(load(url)["train"]) == 4
    with pytest.raises(UserError, match=r"sha256 is [0-9a-f]{64}, expected 00; it is another file"):
        load(url, sha256="00")
    with pytest.raises(UserError, match="sha256: is of an archive"):
        load(as_folder(files(CLASSES), tmp_path), sha256="00")


def test_stray_files_are_named_together_with_counts(tmp_path: Path) -> None:
    strays = ["ants/notes.txt", "ants/a.mp4", "b.csv", "bees/c.heic"]
    with pytest.raises(UserError) as caught:
        load(as_folder(files([*SPLITS, *strays, "train/loose.jpg", "top.jpg", "wasps/1.jpg"]), tmp_path), classes=["x"])
    assert [p.partition(": ")[2] for p in caught.value.problems[:3]] == [
        "4 files (ants/a.mp4, ants/notes.txt, b.csv, ...) without the ending of an image (jpg jpeg png gif bmp webp "
        "tif tiff ppm pgm); remove them",
        "2 files (top.jpg, wasps/1.jpg) outside the folders of the splits; move them into one of these",
        "1 file (train/loose.jpg) in no class folder; move each into a folder with the name of its class",
    ]
    assert "no images of the classes ['x']" in caught.value.problems[3]


@pytest.mark.parametrize("names", [[], ["val/ants/1.jpg"], ["unlabelled/1.jpg"]])
def test_nothing_to_train_on_is_refused(names: list[str], tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    with pytest.raises(UserError, match="no images to train on; expected <class>/<image>"):
        load(as_folder(files(names), tmp_path))


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    folder = as_folder(files(CLASSES), tmp_path)
    (folder / "ants/3.jpg").symlink_to("nowhere")
    with pytest.raises(UserError, match=r"1 file \(ants/3.jpg\) cannot be read"):
        load(folder)


def test_a_path_with_nothing_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no file .*nowhere; put it there"):
        load(tmp_path / "nowhere")


@pytest.mark.parametrize("kind", ["zip", "tar"])
@pytest.mark.parametrize("name", ["../evil.jpg", "ants/../../evil.jpg", "/etc/evil.jpg", "C:\\evil.jpg"])
def test_members_that_point_outside_are_refused(kind: str, name: str, tmp_path: Path) -> None:
    content = files([*CLASSES, name])
    if kind == "zip":
        path = as_zip(content, tmp_path)
    else:
        path = tmp_path / "images.tar"
        with tarfile.open(path, "w") as archive:
            archive.addfile(tarfile.TarInfo(name))
    with pytest.raises(UserError, match="outside the archive, expected relative paths"):
        load(path)


def test_links_in_a_tar_are_refused_but_copies_are_read(tmp_path: Path) -> None:
    path = as_tar(files(CLASSES), tmp_path)
    link = tarfile.TarInfo("./bees/copy.jpg")
    link.type, link.linkname = tarfile.LNKTYPE, "./bees/1.jpg"
    with tarfile.open(path, "a") as archive:
        archive.addfile(link)
    train = load(path)["train"].set_index("row_id")["input"]
    assert train["bees/copy.jpg"] == train["bees/1.jpg"]
    link.type = tarfile.SYMTYPE
    with tarfile.open(path, "a") as archive:
        archive.addfile(link)
    with pytest.raises(UserError, match=r"1 file \(./bees/copy.jpg\) links or devices"):
        load(path)


def test_a_member_without_a_name_is_refused(tmp_path: Path) -> None:
    path = as_zip(files([*CLASSES, "?"]), tmp_path)
    path.write_bytes(path.read_bytes().replace(b"?", b"\0"))
    with pytest.raises(UserError, match="expected relative paths"):
        load(path)


def test_a_link_to_itself_in_a_tar_is_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "images.tar", "w") as archive:
        link = tarfile.TarInfo("ants/1.jpg")
        link.type, link.linkname = tarfile.LNKTYPE, link.name
        archive.addfile(link)
    with pytest.raises(UserError, match="does not unpack as a zip or tar archive"):
        load(tmp_path / "images.tar")


def test_names_that_are_not_utf8_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"1 file .* with names that are not UTF-8; rename them"):
        load(as_tar(files([*CLASSES, "ants/caf\udce9.jpg"]), tmp_path))


def test_an_encrypted_zip_is_refused(tmp_path: Path) -> None:
    path = as_zip(files(CLASSES), tmp_path)
    content = bytearray(path.read_bytes())
    entry = content.rindex(b"PK\x01\x02")
    content[entry + 8] |= 1  # the flag in the directory of the archive
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"1 file \(bees/deep/2.jpg\) encrypted"):
        load(path)


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz", "tar.xz"])
@pytest.mark.parametrize("share", [0.01, 0.1, 0.2, 0.3, 0.4])
def test_an_archive_that_is_cut_off_is_refused(kind: str, share: float, tmp_path: Path) -> None:
    path = PACK[kind](files(CLASSES), tmp_path)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(UserError, match="does not unpack as a zip or tar archive"):
        load(path)


@pytest.mark.parametrize("spoil", ["cut between two members", "damage the header of one"])
def test_a_tar_is_never_read_in_part(spoil: str, tmp_path: Path) -> None:
    path = as_tar(files(CLASSES), tmp_path)
    content = bytearray(path.read_bytes())  # a member takes two blocks of 512 bytes
    if spoil.startswith("cut"):
        del content[2048:]
    else:
        content[2048:2060] = b"x" * 12
    path.write_bytes(content)
    with pytest.raises(UserError, match="does not unpack as a zip or tar archive: it is damaged or cut off"):
        load(path)


def test_a_file_that_is_no_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_text("hello")
    with pytest.raises(UserError, match="does not unpack as a zip or tar archive"):
        load(tmp_path / "a.zip")


def test_the_side_is_asked_for_and_must_be_above_zero() -> None:
    with pytest.raises(TypeError, match="size"):
        Folder(path="x")
    with pytest.raises(UserError, match="size is 0, expected above 0"):
        Folder(path="x", size=0)


def test_digits_are_those_of_scikit_learn() -> None:
    loaded = Digits().load()["train"]
    pixels = np.stack([decode(data, 8) for data in loaded["input"]])
    assert np.array_equal(pixels[..., 0], np.round(load_digits().images * 255 / 16))
    assert np.array_equal(pixels[..., 0], pixels[..., 2])
    assert loaded["target"].tolist() == load_digits().target.astype(str).tolist()


def test_digits_can_be_chosen_and_keep_their_ids() -> None:
    every, few = Digits().load()["train"], Digits(classes=[0, 1]).load()["train"]
    assert few.equals(every[every["target"].isin(["0", "1"])].reset_index(drop=True))
    with pytest.raises(UserError, match=r"classes has \[11\], expected whole numbers from 0 to 9"):
        Digits(classes=[1, 11])


IMAGES = {"bytes": lambda d, n: d, "struct": lambda d, n: {"bytes": d, "path": n}, "path": lambda d, n: n}


@pytest.mark.parametrize(
    ("cell", "ending"), [*((c, "parquet") for c in IMAGES), ("path", "csv"), ("path", "jsonl")]
)  # only Parquet holds bytes
def test_an_image_column_is_bytes_a_struct_or_a_path(cell: str, ending: str, tmp_path: Path) -> None:
    content = files(["ants/1.png", "bees/1.png"])
    as_folder(content, tmp_path)
    frame = pd.DataFrame({"image": [IMAGES[cell](d, f"images/{n}") for n, d in content.items()], "label": [0, 1]})
    path = tmp_path / f"a.{ending}"
    write = {
        "csv": lambda: frame.to_csv(path, index=False),
        "jsonl": lambda: frame.to_json(path, orient="records", lines=True),
        "parquet": lambda: frame.to_parquet(path),
    }
    write[ending]()
    for where in (str(path), path.as_uri()):
        loaded = Table(train=where, input="image", target="label", size=4).load()["train"]
        assert loaded["input"].tolist() == list(content.values())
        assert loaded["target"].tolist() == ["0", "1"]


def table(tmp_path: Path, frame: dict[str, list[object]], **options: object) -> pd.DataFrame:
    pd.DataFrame(frame).to_parquet(tmp_path / "a.parquet")
    return Table(train=str(tmp_path / "a.parquet"), input="image", target="label", **options).load()["train"]


def test_missing_image_files_are_reported_together(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"a.parquet: 5 files \(0.png, 1.png, 2.png, ...\) cannot be read; expected image files"
    ):
        table(tmp_path, {"image": [f"{i}.png" for i in range(5)], "label": [0] * 5}, size=4)


def test_images_without_a_size_and_a_size_without_images_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds images as input, expected text; set size"):
        table(tmp_path, {"image": [png(0)], "label": [0]})
    with pytest.raises(UserError, match="holds float as input, expected images"):
        table(tmp_path, {"image": [1.5], "label": [0]}, size=4)


def test_an_empty_cell_is_an_empty_image(tmp_path: Path) -> None:
    assert table(tmp_path, {"image": [png(0), None], "label": [0, 1]}, size=4)["input"].tolist() == [png(0), b""]


def test_whole_number_labels_stay_whole_beside_an_empty_one(tmp_path: Path) -> None:
    target = table(tmp_path, {"image": ["a", "b", "c"], "label": [1, None, 0]})["target"]
    assert target.fillna("none").tolist() == ["1", "none", "0"]


def test_names_replace_whole_number_labels(tmp_path: Path) -> None:
    frame = {"image": ["a", "b", "c"], "label": [1, 0, 1]}
    assert table(tmp_path, frame, names=["ants", "bees"])["target"].tolist() == ["bees", "ants", "bees"]
    assert len(table(tmp_path, frame, names=["ants", "bees"], classes=["bees"])) == 2


@pytest.mark.parametrize("label", [2, -1, "bees", 0.5])
def test_a_label_without_a_name_is_refused(label: object, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=rf"has the labels \['{label}'\], expected 0 to 1, one for each of names: ants"):
        table(tmp_path, {"image": ["a"], "label": [label]}, names=["ants", "bees"])


def test_real_photos_come_through_a_table_and_decode() -> None:
    folder = SHARED_DATA / "hymenoptera"
    if not folder.is_dir():
        pytest.skip(f"no data sets in {SHARED_DATA} (DECANT_DATA)")
    both = {split: str(folder / f"{split}.parquet") for split in ("train", "validation")}
    loaded = Table(**both, input="image", target="label", names=["ants", "bees"], size=64).load()
    counts = {s: f["target"].value_counts().to_dict() for s, f in loaded.items()}
    assert counts == {"train": {"ants": 123, "bees": 121}, "validation": {"ants": 70, "bees": 83}}
    pixels, problems = decode_all(loaded["train"]["input"], loaded["train"]["row_id"], 64)
    assert problems == {}
    assert {len(p or b"") for p in pixels} == {64 * 64 * 3}


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Source]:
    content = files(["0.png", "1.png"])
    as_folder(content, tmp_path)
    frame = pd.DataFrame({"image": [f"images/{n}" for n in content], "label": ["a", "b"]})
    frame.to_csv(tmp_path / "a.csv", index=False)
    (tmp_path / "more").mkdir()
    features = Features({"image": ImageFeature(), "label": Value("string")})
    rows = Dataset.from_dict(
        {"image": [{"bytes": d, "path": None} for d in content.values()], "label": ["a", "b"]}, features
    )
    monkeypatch.setattr("decant.data.hub.load_dataset", lambda *a, **k: rows)
    bunch = Bunch(data=["x", "y"], target=[1, 0], target_names=["a", "b"])
    monkeypatch.setattr(newsgroups, "fetch_20newsgroups", lambda **k: bunch)
    return [
        Table(train=str(tmp_path / "a.csv"), input="image", target="label", size=4),
        Folder(path=str(as_folder(files(CLASSES), tmp_path / "more")), size=4),
        Digits(classes=[3, 5]),
        hub_with_digests(id="a/b", revision="a" * 40, input="image", target="label", size=4),
        Newsgroups(),
    ]


def test_every_source_gives_the_same_tables_twice_with_the_columns_of_the_contract(sources: list[Source]) -> None:
    for module in pkgutil.iter_modules(decant.data.__path__):
        import_module(f"decant.data.{module.name}")
    assert {type(s) for s in sources} == set(Source.__subclasses__())
    for source in sources:
        first, second = source.load(), source.load()
        assert list(first) == list(second)
        for split, frame in first.items():
            pd.testing.assert_frame_equal(frame, second[split])
            assert set(frame) == {"row_id", "input", "target"}
            assert frame["row_id"].is_unique
            assert {type(cell) for cell in frame["input"]} == ({bytes} if source.size else {str})
