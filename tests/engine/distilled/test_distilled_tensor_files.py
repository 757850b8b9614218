"""`.pt` files of every published layout are read; none of them ever runs anything."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from distilled_cases import Pixels, normalised

import beton_builder
from engine.distilled import open_distilled
from engine.errors import ArtefactError, DamageError, MismatchError


@pytest.fixture
def inputs(pixels: Pixels, dataset: beton_builder.Dataset) -> torch.Tensor:
    return torch.from_numpy(normalised(pixels.images_nhwc, dataset.mean, dataset.std))


def test_the_experiments_of_dc_and_dm(tmp_path, dataset, pixels, inputs) -> None:
    """Numpy numbers beside the images, as those programs save them, are no obstacle."""
    labels = torch.from_numpy(pixels.classes_n)
    scores = {"ConvNet": [np.float64(0.3), 0.4]}
    content = {"data": [[inputs, labels], [inputs + 1, labels]], "accs_all_exps": scores}
    torch.save(content, tmp_path / "res_DM_small_ConvNet_2ipc.pt")
    found = open_distilled(tmp_path / "res_DM_small_ConvNet_2ipc.pt", dataset=dataset)
    assert torch.equal(found.images_nchw, inputs)
    assert (found.scale, found.normalised, found.label_kind) == ("normalised", True, "hard")
    assert np.array_equal(found.targets_nk, np.eye(3, dtype=np.float32)[pixels.classes_n])
    assert {finding.about for finding in found.findings} == {"file", "images"}
    assert "2" in found.findings[0].because


@pytest.mark.parametrize("name", ["images_best", "images_500", "images_zca_500"])
def test_mtts_pairs_of_files(tmp_path, dataset, pixels, inputs, name: str) -> None:
    torch.save(inputs, tmp_path / f"{name}.pt")
    torch.save(torch.from_numpy(pixels.classes_n), tmp_path / f"labels_{name.split('_')[-1]}.pt")
    found = open_distilled(tmp_path / f"{name}.pt", dataset=dataset)
    assert torch.equal(found.images_nchw, inputs)
    assert np.array_equal(found.labels, pixels.classes_n)
    if name == "images_best":
        assert open_distilled(tmp_path, dataset=dataset).id == found.id


def test_ra_bptts_checkpoint_has_flat_images_and_weights_as_labels(tmp_path, dataset, inputs):
    weights = torch.tensor(np.random.default_rng(0).normal(0, 0.4, (6, 3)), dtype=torch.float32)
    content = {
        "epoch": 3,
        "model_state_dict": {"module.data.weight": inputs.reshape(6, -1)},
        "label_state_dict": {"module.label.weight": weights},
    }
    torch.save(content, tmp_path / "ra_bptt.pth")
    with pytest.raises(ArtefactError, match=r"--label-kind logits .* or weights"):
        open_distilled(tmp_path / "ra_bptt.pth", dataset=dataset)
    found = open_distilled(tmp_path / "ra_bptt.pth", dataset=dataset, label_kind="weights")
    assert torch.equal(found.images_nchw, inputs)
    assert np.array_equal(found.targets_nk, weights.numpy())


@pytest.mark.parametrize(
    ("image_name", "label_name"),
    [("images_train", "labels_train"), ("image_syn", "label_syn"), ("images", "soft_labels")],
)
def test_dicts_under_the_usual_names(tmp_path, dataset, pixels, inputs, image_name, label_name):
    soft = label_name == "soft_labels"
    labels = torch.from_numpy(pixels.soft_nk if soft else pixels.classes_n)
    torch.save({image_name: inputs.bfloat16(), label_name: labels}, tmp_path / "set.pt")
    found = open_distilled(tmp_path / "set.pt", dataset=dataset)
    assert torch.equal(found.images_nchw, inputs.bfloat16().float())
    assert found.label_kind == ("probabilities" if soft else "hard")


def test_a_pair_with_parameters(tmp_path, dataset, pixels, inputs) -> None:
    learned = torch.nn.Parameter(inputs)
    logits = torch.from_numpy(pixels.soft_nk * 20)
    torch.save((learned, logits), tmp_path / "set.pt")
    found = open_distilled(tmp_path / "set.pt", dataset=dataset)
    assert torch.equal(found.images_nchw, inputs)
    assert found.label_kind == "logits"
    expected = torch.softmax(logits.double(), 1).numpy()
    np.testing.assert_allclose(found.targets_nk, expected, atol=1e-7)


class _Runs:
    """Pickled, it is a program that makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("layout", ["torch", "pickle"])
def test_a_malicious_file_is_refused_and_runs_nothing(tmp_path, layout: str) -> None:
    trace = tmp_path / "it-ran"
    content = {"images": torch.zeros(2, 3, 16, 16), "labels": _Runs(trace)}
    if layout == "torch":
        torch.save(content, tmp_path / "evil.pt")
    else:
        (tmp_path / "evil.pt").write_bytes(pickle.dumps(content))
    with pytest.raises(ArtefactError, match=r"was not loaded.*run any program"):
        open_distilled(tmp_path / "evil.pt")
    assert not trace.exists()


def test_arrays_of_objects_are_refused(tmp_path) -> None:
    """Numpy arrays may be in a file, but not as a way to smuggle objects in."""
    trace = tmp_path / "it-ran"
    content = {"images": torch.zeros(2, 3, 16, 16), "labels": np.array([_Runs(trace)], object)}
    torch.save(content, tmp_path / "evil.pt")
    with pytest.raises(ArtefactError):
        open_distilled(tmp_path / "evil.pt")
    assert not trace.exists()


def test_a_file_cut_off_anywhere_is_damage(tmp_path, pixels, inputs) -> None:
    torch.save((inputs, torch.from_numpy(pixels.classes_n)), tmp_path / "whole.pt")
    data = (tmp_path / "whole.pt").read_bytes()
    for length in (0, 10, len(data) // 2, len(data) - 30):
        (tmp_path / "cut.pt").write_bytes(data[:length])
        with pytest.raises((DamageError, ArtefactError), match=r"cut\.pt"):
            open_distilled(tmp_path / "cut.pt")


def test_a_tensor_without_labels_says_where_it_looked(tmp_path, inputs) -> None:
    torch.save(inputs, tmp_path / "images_best.pt")
    with pytest.raises(ArtefactError, match=r"labels_best\.pt"):
        open_distilled(tmp_path / "images_best.pt")


def test_another_datasets_set_is_refused(tmp_path, dataset, inputs) -> None:
    torch.save((inputs, torch.tensor([0, 1, 2, 3, 4, 5])), tmp_path / "six.pt")
    with pytest.raises(MismatchError, match="class number 5, and the dataset has 3"):
        open_distilled(tmp_path / "six.pt", dataset=dataset)
    labels = torch.tensor([0, 1, 2, 0, 1, 2])
    torch.save((inputs[..., :8, :8], labels), tmp_path / "small.pt")
    with pytest.raises(MismatchError, match=r"16x16 pixels.*found 8x8\n.*student\.resolution=8"):
        open_distilled(tmp_path / "small.pt", dataset=dataset)
    found = open_distilled(tmp_path / "small.pt", dataset=dataset, resolution=8)
    assert found.images_nchw.shape == (6, 3, 8, 8)
    torch.save((inputs[:, :1], labels), tmp_path / "grey.pt")
    with pytest.raises(MismatchError, match="expected 3 channels"):
        open_distilled(tmp_path / "grey.pt", dataset=dataset)
    torch.save((inputs, labels[:5]), tmp_path / "short.pt")
    with pytest.raises(ArtefactError, match="6 images, but 5 labels"):
        open_distilled(tmp_path / "short.pt", dataset=dataset)


def test_two_sets_in_one_file_are_refused_rather_than_one_taken(tmp_path, pixels, inputs) -> None:
    labels = torch.from_numpy(pixels.classes_n)
    parts = {part: {"images": inputs, "labels": labels} for part in ("train", "test")}
    torch.save(parts, tmp_path / "both.pt")
    with pytest.raises(ArtefactError, match="several tensors in it are called 'images'"):
        open_distilled(tmp_path / "both.pt")


def test_a_name_that_says_zca_is_held_against_the_dataset(tmp_path, dataset, pixels, inputs):
    for name in ("images_zca_500", "images_500"):
        torch.save(inputs, tmp_path / f"{name}.pt")
    torch.save(torch.from_numpy(pixels.classes_n), tmp_path / "labels_500.pt")
    said = {
        name: [each.about for each in open_distilled(tmp_path / name, dataset=dataset).findings]
        for name in ("images_zca_500.pt", "images_500.pt")
    }
    assert said == {"images_zca_500.pt": ["images", "whitening"], "images_500.pt": ["images"]}
