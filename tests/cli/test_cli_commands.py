"""Every option reaches its public function under the function's own argument name."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import beton_builder
import engine as engine_room
import labelstore

COMMON = {"dry_run": False}
CASES: dict[str, tuple[Any, str, str, dict[str, Any]]] = {
    "build-beton by default": (
        beton_builder,
        "build_beton",
        "build-beton --source images --out data",
        {
            "source": "images",
            "out": Path("data"),
            "format": "auto",
            "workers": None,
            "on_error": "fail",
            "max_resolution": None,
            "image_mode": "auto",
            "jpeg_quality": 90,
            "jpeg_check": "decode",
            "normalisation": "auto",
            "force": False,
        },
    ),
    "build-beton in full": (
        beton_builder,
        "build_beton",
        "build-beton --source s --out d --format idx --workers 3 --on-error skip --force"
        " --max-resolution 64 --image-mode raw --jpeg-quality 95 --jpeg-check markers"
        " --normalisation imagenet",
        {
            "source": "s",
            "out": Path("d"),
            "format": "idx",
            "workers": 3,
            "on_error": "skip",
            "max_resolution": 64,
            "image_mode": "raw",
            "jpeg_quality": 95,
            "jpeg_check": "markers",
            "normalisation": "imagenet",
            "force": True,
        },
    ),
    "train-expert by default": (
        engine_room,
        "train_expert",
        "train-expert --data d --out r",
        {
            "data": Path("d"),
            "out": Path("r"),
            "config": None,
            "model": None,
            "epochs": None,
            "lr": None,
            "seed": 0,
            "processes": 1,
            "overrides": {},
            "hold_out": False,
            "force": False,
        },
    ),
    "train-expert in full": (
        engine_room,
        "train_expert",
        "train-expert --data d --out r --config c.yaml --model resnet18 --epochs 13 --lr 0.5"
        " --seed 3 --processes 2 --set a.b=c --set lr=1=2 --hold-out --force",
        {
            "data": Path("d"),
            "out": Path("r"),
            "config": Path("c.yaml"),
            "model": "resnet18",
            "epochs": 13,
            "lr": 0.5,
            "seed": 3,
            "processes": 2,
            "overrides": {"a.b": "c", "lr": "1=2"},
            "hold_out": True,
            "force": True,
        },
    ),
    "dump-labels of all epochs": (
        engine_room,
        "dump_labels",
        "dump-labels --data d --expert r --out l.zarr --all-epochs --processes 2",
        {
            "data": Path("d"),
            "expert": Path("r"),
            "out": Path("l.zarr"),
            "epochs": "all",
            "codec": "dense",
            "view": "plain",
            "crop_seed": 0,
            "processes": 2,
        },
    ),
    "dump-labels of some": (
        engine_room,
        "dump_labels",
        "dump-labels --data d --expert r --out l.zarr --epochs 1,13,36 --codec topk:5"
        " --view crop:4 --crop-seed 3",
        {
            "data": Path("d"),
            "expert": Path("r"),
            "out": Path("l.zarr"),
            "epochs": [1, 13, 36],
            "codec": "topk:5",
            "view": "crop:4",
            "crop_seed": 3,
            "processes": 1,
        },
    ),
    "import-labels by default": (
        engine_room,
        "import_labels",
        "import-labels --data d --source l.npz --out l.zarr --expert resnet",
        {
            "data": Path("d"),
            "source": Path("l.npz"),
            "out": Path("l.zarr"),
            "expert": "resnet",
            "epoch": 0,
            "values": "auto",
            "column": None,
            "index_column": None,
            "codec": "dense",
        },
    ),
    "import-labels in full": (
        engine_room,
        "import_labels",
        "import-labels --data d --source hub/ --out l.zarr --expert resnet --epoch 3"
        " --values logits --column teacher --index-column place --codec topk:10",
        {
            "data": Path("d"),
            "source": Path("hub"),
            "out": Path("l.zarr"),
            "expert": "resnet",
            "epoch": 3,
            "values": "logits",
            "column": "teacher",
            "index_column": "place",
            "codec": "topk:10",
        },
    ),
    "convert-labels by default": (
        labelstore,
        "convert_labels",
        "convert-labels l.zarr --codec quantised:8",
        {
            "path": Path("l.zarr"),
            "codec": "quantised:8",
            "expert": None,
            "view": "plain",
            "epochs": None,
        },
    ),
    "convert-labels in full": (
        labelstore,
        "convert_labels",
        "convert-labels l.zarr --codec topk:5 --expert resnet --view crop-4 --epochs 1,13",
        {
            "path": Path("l.zarr"),
            "codec": "topk:5",
            "expert": "resnet",
            "view": "crop-4",
            "epochs": [1, 13],
        },
    ),
    "learn-labels by default": (
        engine_room,
        "learn_labels",
        "learn-labels --data d --out l",
        {
            "data": Path("d"),
            "out": Path("l"),
            "config": None,
            "ipc": None,
            "steps": None,
            "model": None,
            "initial": None,
            "labels": None,
            "expert": None,
            "expert_epoch": None,
            "compare": None,
            "seed": 0,
            "overrides": {},
            "force": False,
        },
    ),
    "learn-labels in full": (
        engine_room,
        "learn_labels",
        "learn-labels --data d --out l --config c.yaml --ipc 10 --steps 50 --model convnet-d3"
        " --initial expert --labels a.zarr --expert resnet --expert-epoch 13 --compare b.zarr"
        " --seed 3 --set inner.lr=0.1 --force",
        {
            "data": Path("d"),
            "out": Path("l"),
            "config": Path("c.yaml"),
            "ipc": 10,
            "steps": 50,
            "model": "convnet-d3",
            "initial": "expert",
            "labels": Path("a.zarr"),
            "expert": "resnet",
            "expert_epoch": 13,
            "compare": Path("b.zarr"),
            "seed": 3,
            "overrides": {"inner.lr": "0.1"},
            "force": True,
        },
    ),
    "derive-labels by default": (
        engine_room,
        "derive_labels",
        "derive-labels --data d --out l.zarr",
        {
            "data": Path("d"),
            "out": Path("l.zarr"),
            "method": "class-mean-images",
            "entropies": [3.0],
            "expert": None,
            "model": "convnet-d3",
            "resolution": None,
            "seed": 0,
            "codec": "dense",
        },
    ),
    "derive-labels in full": (
        engine_room,
        "derive_labels",
        "derive-labels --data d --out l.zarr --method random-features --entropy 1.5,3"
        " --expert none --model convnet-d2 --resolution 64 --seed 2 --codec topk:10",
        {
            "data": Path("d"),
            "out": Path("l.zarr"),
            "method": "random-features",
            "entropies": [1.5, 3.0],
            "expert": "none",
            "model": "convnet-d2",
            "resolution": 64,
            "seed": 2,
            "codec": "topk:10",
        },
    ),
    "sweep-students by default": (
        engine_room,
        "sweep_students",
        "sweep-students --data d --out s",
        {
            "data": Path("d"),
            "labels": None,
            "out": Path("s"),
            "config": None,
            "ipc": None,
            "expert_epochs": None,
            "seeds": None,
            "executor": "local",
            "workers": "auto",
            "workers_per_device": None,
            "threads": None,
            "retries": 2,
            "stall_timeout": 1800.0,
            "ray_address": None,
            "gpus_per_worker": 0.0,
            "halving": False,
            "trackers": (),
            "events": None,
            "estimate": True,
            "overrides": {},
        },
    ),
    "sweep-students in full": (
        engine_room,
        "sweep_students",
        "sweep-students --data d --labels l.zarr --out s --config g.yaml --ipc 1,10"
        " --expert-epochs 5-7,13 --seeds 0,1,2 --executor ray --workers 2 --threads 1"
        " --retries 0 --ray-address auto --gpus-per-worker 0.5 --set student.lr=0.01"
        " --stall-timeout 60 --halving --tracker wandb --tracker mlflow --events e.jsonl"
        " --no-estimate",
        {
            "data": Path("d"),
            "labels": Path("l.zarr"),
            "out": Path("s"),
            "config": Path("g.yaml"),
            "ipc": [1, 10],
            "expert_epochs": "5-7,13",
            "seeds": [0, 1, 2],
            "executor": "ray",
            "workers": 2,
            "workers_per_device": None,
            "threads": 1,
            "retries": 0,
            "stall_timeout": 60.0,
            "ray_address": "auto",
            "gpus_per_worker": 0.5,
            "halving": True,
            "trackers": ["wandb", "mlflow"],
            "events": Path("e.jsonl"),
            "estimate": False,
            "overrides": {"student.lr": "0.01"},
        },
    ),
    "report": (
        engine_room,
        "write_report",
        "report s1 s2 --out r",
        {"sweeps": [Path("s1"), Path("s2")], "out": Path("r"), "data": None, "labels": None},
    ),
    "export by default": (
        engine_room,
        "export_distilled",
        "export --data d --labels l.zarr --ipc 10 --expert-epoch best --out x",
        {
            "data": Path("d"),
            "labels": Path("l.zarr"),
            "out": Path("x"),
            "ipc": 10,
            "expert_epoch": "best",
            "format": "parquet",
            "expert": None,
            "view": "plain",
            "codec": None,
            "selection": "random",
            "subset_seed": 0,
            "temperature": 1.0,
            "transform": "soft",
            "resolution": None,
            "force": False,
        },
    ),
    "export in full": (
        engine_room,
        "export_distilled",
        "export --data d --labels l.zarr --ipc 1 --expert-epoch 13 --out x --format npz"
        " --expert resnet --view flip --codec topk:5 --selection stratified --subset-seed 2"
        " --temperature 1.5 --transform top-k:4 --resolution 32 --force",
        {
            "data": Path("d"),
            "labels": Path("l.zarr"),
            "out": Path("x"),
            "ipc": 1,
            "expert_epoch": 13,
            "format": "npz",
            "expert": "resnet",
            "view": "flip",
            "codec": "topk:5",
            "selection": "stratified",
            "subset_seed": 2,
            "temperature": 1.5,
            "transform": "top-k:4",
            "resolution": 32,
            "force": True,
        },
    ),
    "evaluate by default": (
        engine_room,
        "evaluate_distilled",
        "evaluate --data d --distilled dm.pt",
        {
            "data": Path("d"),
            "distilled": Path("dm.pt"),
            "out": None,
            "config": None,
            "seeds": None,
            "images": "auto",
            "label_kind": "auto",
            "workers": "auto",
            "threads": None,
            "overrides": {},
            "estimate": True,
        },
    ),
    "evaluate in full": (
        engine_room,
        "evaluate_distilled",
        "evaluate --data d --distilled dm.pt --out e --config c.yaml --seeds 0,1 --images unit"
        " --label-kind logits --workers 2 --threads 1 --set student.epochs=3 --no-estimate",
        {
            "data": Path("d"),
            "distilled": Path("dm.pt"),
            "out": Path("e"),
            "config": Path("c.yaml"),
            "seeds": [0, 1],
            "images": "unit",
            "label_kind": "logits",
            "workers": 2,
            "threads": 1,
            "overrides": {"student.epochs": "3"},
            "estimate": False,
        },
    ),
    "demo": (engine_room, "run_demo", "demo", {"out": Path("demo")}),
    "demo elsewhere": (engine_room, "run_demo", "demo --out x", {"out": Path("x")}),
}


@pytest.mark.parametrize("case", CASES)
def test_options_reach_the_function(engine: Callable, returning: Callable, case: str) -> None:
    room, name, line, expected = CASES[case]
    calls = returning(room, name, {"answer": 42})
    assert engine(*line.split()).code == 0
    assert calls == [{**expected, "dry_run": False}]


@pytest.mark.parametrize("case", CASES)
def test_dry_run_is_passed_on_and_prints_the_plan(
    engine: Callable, returning: Callable, case: str
) -> None:
    room, name, line, _ = CASES[case]
    calls = returning(room, name, {"trials": 6, "failed": 2})
    outcome = engine(*line.split(), "--dry-run")
    assert outcome.code == 0
    assert calls[0]["dry_run"] is True
    assert outcome.stdout.splitlines()[0] == "Plan; nothing was done."
    assert "trials  6" in outcome.stdout


@pytest.mark.parametrize("case", CASES)
def test_json_prints_the_result_alone(engine: Callable, returning: Callable, case: str) -> None:
    room, name, line, _ = CASES[case]
    returning(room, name, {"out": Path("x"), "seconds": 1.5})
    outcome = engine(*line.split(), "--json")
    assert json.loads(outcome.stdout) == {"out": "x", "seconds": 1.5}
    assert outcome.stderr == ""
