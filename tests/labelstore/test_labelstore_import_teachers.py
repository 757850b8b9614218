"""Labels of a teacher that is a function, asked block by block."""

from __future__ import annotations

import numpy as np
import pytest
from labelstore_imports_cases import LOGITS, PROBABILITIES, N, do_import, view_of

import labelstore


def teach(asked):
    def teacher(indices):
        asked.append(indices)
        return LOGITS[indices]

    return teacher


def test_a_teacher_is_asked_once_for_every_sample_block_by_block(tmp_path):
    asked = []
    result = do_import(tmp_path / "s.zarr", teach(asked), checkpoint_id="t1", epoch=3)
    assert np.array_equal(np.concatenate(asked), np.arange(N))
    assert max(map(len, asked)) <= 2_048
    assert all(each.dtype == np.int64 for each in asked)
    view = view_of(tmp_path / "s.zarr")
    assert np.array_equal(view.read(3, range(N)), LOGITS.astype(np.float16))
    assert view.checkpoint_id(3) == "t1"
    assert result["source"] == {"kind": "teacher", "values": "logits"}
    assert view.identity["source"] == {**result["source"], "teacher": "elsewhere", "view": "plain"}


def test_a_rule_is_part_of_the_views_identity_and_what_is_noted_of_an_epoch_is_not(tmp_path):
    def ask(**options):
        return do_import(tmp_path / "s.zarr", teach([]), checkpoint_id="t1", **options)

    ask(rule={"seed": 0}, noted={"temperature": 2.5})
    view = view_of(tmp_path / "s.zarr")
    assert view.identity["source"]["rule"] == {"seed": 0}
    assert view.about(0)["source"]["temperature"] == 2.5
    assert ask(rule={"seed": 0}, noted={"temperature": 3.0})["status"] == "finished already"
    assert view.about(0)["source"]["temperature"] == 2.5
    for again in ({"rule": {"seed": 1}}, {"rule": {"seed": 1}, "codec": "topk:2"}):
        with pytest.raises(labelstore.WrongIdentity, match=r"'seed': 0.*'seed': 1"):
            ask(dry_run=True, **again)


def test_an_interrupted_teacher_resumes_where_it_was(tmp_path):
    asked = []

    def dies(indices):
        if indices[0] >= 4_096:
            raise KeyboardInterrupt
        return teach(asked)(indices)

    with pytest.raises(KeyboardInterrupt):
        do_import(tmp_path / "s.zarr", dies, checkpoint_id="t1")
    done = len(asked)
    assert done >= 2
    do_import(tmp_path / "s.zarr", teach(asked), checkpoint_id="t1")
    assert np.array_equal(np.sort(np.concatenate(asked)), np.arange(N))
    assert np.array_equal(view_of(tmp_path / "s.zarr").read(0, range(N)), LOGITS.astype(np.float16))
    assert do_import(tmp_path / "s.zarr", teach(asked), checkpoint_id="t1")["status"] == (
        "finished already"
    )
    with pytest.raises(labelstore.WrongCheckpoint):
        do_import(tmp_path / "s.zarr", teach(asked), checkpoint_id="t2")


def test_a_teacher_may_answer_with_tensors_lists_or_probabilities(tmp_path):
    import torch

    answers = {
        "tensor": lambda i: torch.tensor(LOGITS[i], requires_grad=True),
        "bfloat16": lambda i: torch.tensor(LOGITS[i]).bfloat16(),
        "lists": lambda i: LOGITS[i].tolist(),
        "float64": lambda i: LOGITS[i].astype(np.float64),
    }
    for name, answer in answers.items():
        do_import(tmp_path / "s.zarr", answer, expert=name, checkpoint_id="t")
        found = view_of(tmp_path / "s.zarr", expert=name).read(0, range(N)).astype(np.float64)
        tolerance = 2**-8 if name == "bfloat16" else 2**-11
        np.testing.assert_allclose(found, LOGITS, rtol=tolerance, atol=1e-6)
    soft = {"expert": "p", "checkpoint_id": "t", "values": "probabilities"}
    do_import(tmp_path / "s.zarr", lambda i: PROBABILITIES[i], **soft)
    found = view_of(tmp_path / "s.zarr", expert="p").probabilities(0, range(N))
    np.testing.assert_allclose(found, PROBABILITIES, atol=4e-3)


@pytest.mark.parametrize(
    ("answer", "error", "message"),
    [
        (lambda i: LOGITS[i][:-1], labelstore.BadSource, "asked for .* samples from 0 on"),
        (lambda i: LOGITS[i, :5], labelstore.BadSource, r"expected numbers \(rows, 6\)"),
        (lambda i: "no", labelstore.BadSource, "answered with"),
        (lambda i: np.full((len(i), 6), np.nan), labelstore.BadLogits, "sample 0, class 0 is nan"),
    ],
)
def test_a_teacher_that_answers_badly_is_refused(tmp_path, answer, error, message):
    with pytest.raises(error, match=message):
        do_import(tmp_path / "s.zarr", answer, checkpoint_id="t1")


def test_a_teacher_must_be_identified_and_has_no_columns(tmp_path):
    with pytest.raises(labelstore.BadArgument, match="checkpoint_id"):
        do_import(tmp_path / "s.zarr", teach([]))
    with pytest.raises(labelstore.BadArgument, match="column"):
        do_import(tmp_path / "s.zarr", teach([]), checkpoint_id="t1", column="logits")
