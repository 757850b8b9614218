"""The card of a distilled set: a README that says how it was made and how to load it.

In: the manifest. Out: Markdown, with the front matter that Hugging Face's hub reads.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

MOST_CLASSES = 200  # whose names are all written out

LOADING = {
    "parquet": """from datasets import load_dataset
data = load_dataset("parquet", data_files="{folder}/data/*.parquet", split="train")
image, soft_label = data[0]["image"], data[0]["soft_label"]""",
    "webdataset": """import webdataset
data = webdataset.WebDataset("{folder}/data/{shards}").decode("pil")
image, soft_label = next(iter(data.to_tuple("png;jpg", "npy")))""",
    "npz": """import numpy
data = numpy.load("{folder}/data/train.npz")
images, soft_labels = data["images"], data["soft_labels"]""",
}
GLOBS = {"parquet": "data/*.parquet", "webdataset": "data/*.tar"}
COLUMNS = {
    "parquet": "`image`, `label` (class number), `soft_label`, `sample_id`",
    "webdataset": "`KEY.jpg` or `KEY.png`, `KEY.cls` (class number), `KEY.npy` (soft label); "
    "KEY is the sample id",
    "npz": "`images` (n, height, width, channels) uint8, `labels` (class numbers), `soft_labels` "
    "(n, classes), `sample_ids`, `classes`",
}


def write_card(manifest: Mapping[str, Any], files: Sequence[str]) -> str:
    """The card's text. ``files``: names of the data files."""
    dataset, subset, file_format = manifest["dataset"], manifest["subset"], manifest["format"]
    kind = "soft" if manifest["labels"]["transform"] else "hard"
    title = f"{dataset['name']}, {subset['images_per_class']} images per class, {kind} labels"
    loading = LOADING[file_format].format(folder="PATH", shards=_shards(files))
    parts = [
        _front_matter(manifest, title),
        f"# {title}\n",
        f"{subset['num_images']:,} real images of {dataset['name']} "
        f"({len(dataset['classes'])} classes) with {_labels_are(manifest)}. Train against the soft "
        "labels; class numbers are beside them.\n",
        "## Load it\n",
        f"```python\n{loading}\n```\n",
        f"Each row has {COLUMNS[file_format]}. `sample_id` is the position in the train split of "
        f"the dataset. Soft labels are {_numbers_are(manifest)}, in the order of the classes "
        "below.\n",
        "## How it was made\n",
        _table(_facts(manifest)),
        f"The same set again:\n\n```\n{manifest['command']}\n```\n",
        "Train students on it under the papers' protocol:\n\n```\n"
        "engine evaluate --data DATA --distilled PATH --out EVALUATION\n```\n",
        "## Classes, in order\n",
        _classes(dataset["classes"]) + "\n",
        "The images keep the licence of the dataset that they are from. `manifest.json` has all of "
        "this for programs, and the SHA-256 of every file (`engine verify PATH`).\n",
    ]
    return "\n".join(parts)


def _labels_are(manifest: Mapping[str, Any]) -> str:
    """What is true of the labels in a few words."""
    paper = (
        "[A Label is Worth a Thousand Images in Dataset Distillation]"
        "(https://arxiv.org/abs/2406.10485)"
    )
    if manifest["expert"] is None:
        return f"labels that no expert gave (`{manifest['labels']['transform'] or 'hard'}`)"
    if manifest["expert"]["run"] is None:
        return "soft labels that were not made by an expert run of this program, but imported"
    return f"the soft labels of an expert: the baseline of {paper}"


def _numbers_are(manifest: Mapping[str, Any]) -> str:
    total = manifest["figures"]["label_sum"]
    if total == 1:
        return "probabilities (float32)"
    return f"targets of the cross-entropy (float32) that sum to {total:.3f} on average, not to 1"


def _front_matter(manifest: Mapping[str, Any], title: str) -> str:
    lines = ["---", f"pretty_name: {_quoted(title)}", "task_categories: [image-classification]"]
    lines += ["tags: [dataset-distillation, soft-labels]"]
    if manifest["format"] in GLOBS:
        lines += ["configs:", "- config_name: default", "  data_files:"]
        lines += ["  - split: train", f"    path: {GLOBS[manifest['format']]}"]
    return "\n".join([*lines, "---", ""])


def _facts(manifest: Mapping[str, Any]) -> list[tuple[str, str]]:
    dataset, subset, labels = manifest["dataset"], manifest["subset"], manifest["labels"]
    figures, versions = manifest["figures"], manifest["versions"]
    return [
        ("Dataset", f"{dataset['name']}, id `{dataset['id']}`"),
        (
            "Images",
            f"selection `{subset['selection']}`, {subset['images_per_class']} per class, subset "
            f"seed {subset['subset_seed']}, of the train split without its validation images",
        ),
        *_expert_facts(manifest),
        ("Temperature", str(labels["temperature"] or 1).removesuffix(".0")),
        ("Labels after that", f"`{labels['transform'] or 'hard'}`"),
        (
            "Mean entropy of these labels",
            "none: they don't sum to 1"
            if figures["label_entropy"] is None
            else f"{figures['label_entropy']:.3f} nats",
        ),
        ("Largest label is the image's class", f"{100 * figures['top_label_is_class']:.1f} %"),
        ("Normalisation of the dataset", _normalisation(dataset["normalisation"])),
        ("Made with", ", ".join(f"{name} {number}" for name, number in versions.items())),
        ("Id of this set", f"`{manifest['id']}`"),
    ]


def _expert_facts(manifest: Mapping[str, Any]) -> list[tuple[str, str]]:
    expert, labels = manifest["expert"], manifest["labels"]
    if expert is None:
        return [("Expert", "none; these labels need none")]
    accuracy = expert["test_accuracy"]
    measured = "not known" if accuracy is None else f"{100 * accuracy:.2f} %"
    error = expert["codec_error"]
    run = f"run `{expert['run']}`" if expert["run"] else "imported"
    return [
        (
            "Expert",
            f"`{labels['expert']}`, {run}, after epoch {labels['expert_epoch']}, "
            f"checkpoint `{expert['checkpoint'][:16]}`",
        ),
        ("Its test accuracy", measured),
        ("What it labelled", f"view `{labels['view']}`: {_words(expert['labelled_as'])}"),
        (
            "How its logits were stored",
            f"`{labels['codec']}`; against {error['against']}: largest error of a logit "
            f"{error['max_abs']:.2g}, mean KL {error['kl_mean']:.2g} nats, worst "
            f"{error['kl_worst']:.2g} nats",
        ),
        (
            "Mean entropy of its labels",
            f"{expert['label_entropy_of_all_images']:.3f} nats, over all images, temperature 1",
        ),
    ]


def _words(value: Any) -> str:
    if not isinstance(value, Mapping):
        return "not known" if value is None else str(value)
    return ", ".join(f"{key.replace('_', ' ')} {item}" for key, item in value.items())


def _table(facts: Iterable[tuple[str, str]]) -> str:
    rows = [f"| {_cell(name)} | {_cell(value)} |" for name, value in facts]
    return "\n".join(["| | |", "|---|---|", *rows, ""])


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _classes(names: Sequence[str]) -> str:
    shown = [f"{number} {_plain(name)}" for number, name in enumerate(names[:MOST_CLASSES])]
    more = f", … ({len(names):,} in all, see manifest.json)" if len(names) > MOST_CLASSES else ""
    return ", ".join(shown) + more


def _plain(name: str) -> str:
    """A class name that can't be taken for Markdown."""
    return "".join(f"\\{c}" if c in "\\`*_[]<>|#" else c for c in name).replace("\n", " ")


def _normalisation(by: Mapping[str, Any]) -> str:
    mean, std = (" ".join(f"{value:.4g}" for value in by[name]) for name in ("mean", "std"))
    whitened = f", then whitened (`{by['whitening']}`)" if by.get("whitening") else ""
    return f"mean {mean}, std {std}{whitened}; the images here are as stored"


def _shards(files: Sequence[str]) -> str:
    """The tar files of the set in one name, as WebDataset writes it."""
    count = sum(name.endswith(".tar") for name in files)
    return f"train-{{000000..{count - 1:06d}}}.tar" if count > 1 else "train-000000.tar"


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
