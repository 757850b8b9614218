"""TinyImageNet and ImageNet as they are distributed, against PIL and the lists beside them."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from beton_samples import as_jpeg, smooth_pixels, write_folder
from PIL import Image

from beton_builder import build_beton, open_dataset
from beton_builder.errors import BadSource, SourceNotFound
from beton_builder.sources.detect import detect_format, open_source

WNIDS = ("n01443537", "n01629819", "n02123045")
TINY_VAL = {f"val_{i}.JPEG": WNIDS[(2 * i) % 3] for i in range(12)}
VAL = {f"ILSVRC2012_val_{i:08d}.JPEG": WNIDS[(2 * i) % 3] for i in range(1, 12)}


def picture(seed: int, side: int = 64) -> bytes:
    return as_jpeg(smooth_pixels(side, side, seed=seed))


def tiny_imagenet(folder: Path) -> Path:
    """Three classes of four train images, twelve in val/, three in test/."""
    files = {
        f"train/{wnid}/images/{wnid}_{i}.JPEG": picture(10 * c + i)
        for c, wnid in enumerate(WNIDS)
        for i in range(4)
    }
    files |= {f"train/{wnid}/{wnid}_boxes.txt": b"0\t0\t62\t63\n" for wnid in WNIDS}
    files |= {f"val/images/{name}": picture(100 + i) for i, name in enumerate(TINY_VAL)}
    files |= {f"test/images/test_{i}.JPEG": picture(200 + i) for i in range(3)}
    lines = [f"{name}\t{wnid}\t0\t32\t44\t62\n" for name, wnid in TINY_VAL.items()]
    files["val/val_annotations.txt"] = "".join(lines).encode()
    files["wnids.txt"] = "".join(f"{wnid}\n" for wnid in reversed(WNIDS)).encode()
    files["words.txt"] = b"n01443537\tgoldfish, Carassius auratus\n"
    return write_folder(folder, files)


def imagenet(folder: Path, below: str = "") -> Path:
    """Three classes of two train images and eleven in val/, without a list of their classes."""
    files = {
        f"{below}train/{wnid}/{wnid}_{i}.JPEG": picture(10 * c + i, 80)
        for c, wnid in enumerate(WNIDS)
        for i in range(2)
    }
    files |= {f"{below}val/{name}": picture(100 + i, 90) for i, name in enumerate(VAL)}
    return write_folder(folder, files)


def solution() -> bytes:
    """Kaggle's list, whose rows are in no order and have a box or several."""
    rows = [
        f"{Path(name).stem},{wnid} 85 1 499 272" + f" {wnid} 1 2 3 4" * (i % 2) + "\n"
        for i, (name, wnid) in enumerate(reversed(VAL.items()))
    ]
    return ("ImageId,PredictionString\n" + "".join(rows)).encode()


def truth() -> bytes:
    """The development kit's list: numbers that count the classes backwards."""
    return "".join(f"{3 - WNIDS.index(wnid)}\n" for wnid in VAL.values()).encode()


def write_meta(path: Path) -> None:
    """`meta.mat` with three classes and a node above them."""
    from scipy.io import savemat

    kind = [("ILSVRC2012_ID", "O"), ("WNID", "O"), ("words", "O"), ("num_children", "O")]
    rows = [(i + 1, wnid, "a word", 0) for i, wnid in enumerate(reversed(WNIDS))]
    synsets = np.array([*rows, (1001, "n00001740", "entity", 3)], kind)
    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, {"synsets": synsets[:, None]})


def test_tiny_imagenet_is_read_as_it_is_distributed(tmp_path: Path) -> None:
    folder = tiny_imagenet(tmp_path / "tiny-imagenet-200")
    source = open_source(folder)
    train, test = source.splits["train"], source.splits["test"]
    assert (source.format, source.classes) == ("tiny-imagenet", WNIDS)
    assert train.labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert train.name_of(5) == "train/n01629819/images/n01629819_1.JPEG"
    names = sorted(TINY_VAL)
    assert [test.name_of(i) for i in range(len(test))] == [f"val/images/{n}" for n in names]
    assert test.labels.tolist() == [WNIDS.index(TINY_VAL[name]) for name in names]
    assert set(source.ignored) == {f"train/{wnid}/{wnid}_boxes.txt" for wnid in WNIDS}


def test_a_dataset_of_tiny_imagenet_has_its_files_and_imagenets_normalisation(
    tmp_path: Path,
) -> None:
    folder = tiny_imagenet(tmp_path / "unpacked/tiny-imagenet-200")
    result = build_beton(tmp_path / "unpacked", tmp_path / "data")
    dataset = open_dataset(tmp_path / "data")
    assert (result["name"], result["format"]) == ("tiny-imagenet-200", "tiny-imagenet")
    assert (dataset.height, dataset.decode_path) == (64, "jpeg")
    assert dataset.mean == (0.485, 0.456, 0.406)
    with dataset.split("test") as test:
        stored = dataset.samples("test")
        for i, name in enumerate(stored.source):
            assert test.payload(i).tobytes() == (folder / name).read_bytes()
            assert dataset.classes[stored.labels[i]] == TINY_VAL[Path(name).name]


def test_tiny_imagenet_with_val_in_class_folders_is_an_image_folder(tmp_path: Path) -> None:
    folder = tiny_imagenet(tmp_path)
    for name, wnid in TINY_VAL.items():
        (folder / "val" / wnid).mkdir(exist_ok=True)
        (folder / "val/images" / name).rename(folder / "val" / wnid / name)
    (folder / "val/images").rmdir()
    source = open_source(folder)
    assert (source.format, source.origins["test"]) == ("image-folder", "val")
    assert np.bincount(source.splits["test"].labels).tolist() == [4, 4, 4]


@pytest.mark.parametrize("place", ["", "devkit"])
def test_imagenets_development_kit_gives_the_classes_of_val(tmp_path: Path, place: str) -> None:
    folder = imagenet(tmp_path)
    kit = folder / "ILSVRC2012_devkit_t12/data" if place else folder
    kit.mkdir(parents=True, exist_ok=True)
    (kit / "ILSVRC2012_validation_ground_truth.txt").write_bytes(truth())
    write_meta(kit / "meta.mat")
    check_imagenet(folder)


def test_imagenets_map_of_numbers_may_stand_for_its_mat_file(tmp_path: Path) -> None:
    folder = imagenet(tmp_path)
    kit = folder / "devkit/data"
    numbers = "".join(f"{wnid} {3 - i} some_word\n" for i, wnid in enumerate(WNIDS))
    write_folder(
        kit,
        {
            "ILSVRC2015_clsloc_validation_ground_truth.txt": truth(),
            "map_clsloc.txt": numbers.encode(),
        },
    )
    check_imagenet(folder)


@pytest.mark.parametrize("named", ["", "ILSVRC", "ILSVRC/Data/CLS-LOC"])
def test_imagenet_as_kaggle_packs_it(tmp_path: Path, named: str) -> None:
    imagenet(tmp_path, "ILSVRC/Data/CLS-LOC/")
    synsets = "".join(f"{wnid} a word, another\n" for wnid in (*WNIDS, "n09999999"))
    write_folder(
        tmp_path,
        {"LOC_val_solution.csv": solution(), "LOC_synset_mapping.txt": synsets.encode()},
    )
    write_folder(tmp_path, {"ILSVRC/Data/CLS-LOC/test/ILSVRC2012_test_1.JPEG": picture(0)})
    check_imagenet(tmp_path / named)


def check_imagenet(folder: Path) -> None:
    source = open_source(folder)
    test = source.splits["test"]
    assert (source.format, source.classes) == ("imagenet", WNIDS)
    assert source.splits["train"].labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert [test.name_of(i) for i in range(len(test))] == [f"val/{name}" for name in VAL]
    assert test.labels.tolist() == [WNIDS.index(wnid) for wnid in VAL.values()]
    assert open_source(folder).fingerprint == source.fingerprint
    for i, name in enumerate(VAL):
        (place,) = folder.rglob(name)
        assert test[i][0] == place.read_bytes()  # type: ignore[index]


def test_kaggles_folders_with_a_sorted_val_are_image_folders(tmp_path: Path) -> None:
    imagenet(tmp_path, "ILSVRC/Data/CLS-LOC/")
    data = tmp_path / "ILSVRC/Data/CLS-LOC"
    for name, wnid in VAL.items():
        (data / "val" / wnid).mkdir(exist_ok=True)
        (data / "val" / name).rename(data / "val" / wnid / name)
    source = open_source(tmp_path)
    assert (source.format, source.name) == ("image-folder", tmp_path.name)
    assert (len(source.splits["test"]), source.folder) == (len(VAL), tmp_path)


def test_the_tars_are_named_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "ILSVRC2012_img_train.tar").touch()
    for format in ("auto", "imagenet"):
        with pytest.raises(SourceNotFound, match=r"unpack them: ILSVRC2012_img_train\.tar, and"):
            open_source(tmp_path, format)


def test_a_flat_val_without_a_list_is_refused(tmp_path: Path) -> None:
    folder = imagenet(tmp_path)
    with pytest.raises(BadSource, match=r"nothing says their classes: put LOC_val_solution\.csv"):
        open_source(folder)
    assert open_source(folder, "image-folder").origins == {"train": "train"}


def test_a_ground_truth_without_what_its_numbers_mean_is_refused(tmp_path: Path) -> None:
    folder = imagenet(tmp_path)
    (folder / "ILSVRC2012_validation_ground_truth.txt").write_bytes(truth())
    with pytest.raises(BadSource, match=r"neither meta\.mat nor map_clsloc\.txt"):
        open_source(folder)
    (folder / "meta.mat").write_bytes(b"nothing of the kind")
    with pytest.raises(BadSource, match=r"is not the development kit's meta\.mat"):
        open_source(folder)


def edited(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


TINY_MISTAKES = {
    "val/val_annotations.txt": [
        (
            "val_3.JPEG\tn01443537",
            "val_3.JPEG\tn09999999",
            r"line 4: val_3\.JPEG is of class 'n09",
        ),
        ("val_3.JPEG", "val_2.JPEG", r"line 4: val_2\.JPEG is listed twice"),
        (
            "val_3.JPEG\tn01443537\t0\t32\t44\t62",
            "val_3.JPEG",
            r"line 4: expected a file name, a tab",
        ),
        ("val_3.JPEG", "val_99.JPEG", r"val_3\.JPEG has no class"),
    ],
    "wnids.txt": [
        ("n01443537", "n09999999", r"1 classes are not in it \(n01443537\)"),
        ("n01443537", "n01443537\nn09999999", r"1 classes have no folder \(n09999999\)"),
    ],
}


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [(file, *mistake) for file, mistakes in TINY_MISTAKES.items() for mistake in mistakes],
)
def test_lists_that_contradict_tiny_imagenet_are_refused_by_name(
    tmp_path: Path, file: str, old: str, new: str, message: str
) -> None:
    folder = tiny_imagenet(tmp_path)
    edited(folder / file, old, new)
    with pytest.raises(BadSource, match=message):
        open_source(folder)


def test_an_image_that_is_listed_but_not_there_is_named(tmp_path: Path) -> None:
    folder = tiny_imagenet(tmp_path)
    (folder / "val/images/val_7.JPEG").unlink()
    with pytest.raises(BadSource, match=r"names 12 images, and 1 of them are not in .*val_7\.JPEG"):
        open_source(folder)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("ILSVRC2012_val_00000003,n01443537", "ILSVRC2012_val_00000003,n07777777", "'n07777777'"),
        ("ILSVRC2012_val_00000003,", "ILSVRC2012_val_00000004,", "is listed twice"),
        ("n01443537 85 1 499 272\n", "\n", "expected ImageId,PredictionString"),
        ("ILSVRC2012_val_00000003,", '"ILSVRC2012_val_00000003,', "expected ImageId,Prediction"),
    ],
)
def test_kaggles_list_is_held_against_the_files(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    folder = imagenet(tmp_path)
    (folder / "LOC_val_solution.csv").write_bytes(solution())
    edited(folder / "LOC_val_solution.csv", old, new)
    with pytest.raises(BadSource, match=message):
        open_source(folder)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (truth() + b"1\n", r"ILSVRC2012_val_00000012\.JPEG"),
        (truth()[:-2], r"val_00000011\.JPEG has no class"),
        (b"4\n" + truth()[2:], "line 1: expected a class from 1 to 1000, found '4'"),
    ],
)
def test_the_ground_truth_must_be_that_of_the_images(
    tmp_path: Path, content: bytes, message: str
) -> None:
    folder = imagenet(tmp_path)
    (folder / "ILSVRC2012_validation_ground_truth.txt").write_bytes(content)
    write_meta(folder / "meta.mat")
    with pytest.raises(BadSource, match=message):
        open_source(folder)


def test_a_changed_list_is_another_source(tmp_path: Path) -> None:
    folder = tiny_imagenet(tmp_path)
    before = open_source(folder).fingerprint
    edited(folder / "val/val_annotations.txt", "val_1.JPEG\tn02123045", "val_1.JPEG\tn01443537 ")
    assert open_source(folder).fingerprint != before


def test_real_imagenet_files_in_kaggles_layout(shared_data: Path, tmp_path: Path) -> None:
    photos = sorted((shared_data / "imagenet-sample/train").glob("*/*.JPEG"))[:6]
    data = tmp_path / "source/ILSVRC/Data/CLS-LOC"
    rows = ["ImageId,PredictionString"]
    for number, photo in enumerate(photos[:3], 1):
        wnid = photo.parent.name
        (data / "train" / wnid).mkdir(parents=True)
        shutil.copy(photo, data / "train" / wnid)
        (data / "val").mkdir(exist_ok=True)
        shutil.copy(photos[number + 2], data / f"val/ILSVRC2012_val_{number:08d}.JPEG")
        rows.append(f"ILSVRC2012_val_{number:08d},{wnid} 1 2 3 4")
    (tmp_path / "source/LOC_val_solution.csv").write_text("\n".join(rows) + "\n")
    build_beton(tmp_path / "source", tmp_path / "out")
    dataset = open_dataset(tmp_path / "out")
    with dataset.split("test") as test, Image.open(photos[3]) as image:
        assert test.labels.tolist() == [0, 1, 2]
        np.testing.assert_array_equal(test.image(0), np.asarray(image.convert("RGB")))


def test_real_photographs_in_tiny_imagenets_layout(shared_data: Path, tmp_path: Path) -> None:
    photos = sorted((shared_data / "imagenet-sample/train").glob("*/*.JPEG"))[:3]
    folder = tmp_path / "source"
    annotations = []
    for number, photo in enumerate(photos):
        wnid = photo.parent.name
        place = folder / "train" / wnid / "images"
        place.mkdir(parents=True)
        (folder / "val/images").mkdir(parents=True, exist_ok=True)
        with Image.open(photo) as image:
            small = image.convert("RGB").resize((64, 64), Image.Resampling.BICUBIC)
        small.save(place / f"{wnid}_0.JPEG")
        small.convert("L").save(folder / f"val/images/val_{number}.JPEG")  # some of val are grey
        annotations.append(f"val_{number}.JPEG\t{wnid}\t0\t0\t62\t62\n")
    (folder / "val/val_annotations.txt").write_text("".join(annotations))
    assert detect_format(folder) == "tiny-imagenet"
    build_beton(folder, tmp_path / "out")
    dataset = open_dataset(tmp_path / "out")
    assert (dataset.height, dataset.width, dataset.channels) == (64, 64, 3)
    with dataset.split("test") as test, Image.open(folder / "val/images/val_2.JPEG") as image:
        assert test.labels.tolist() == [0, 1, 2]
        np.testing.assert_array_equal(test.image(2), np.asarray(image.convert("RGB")))
