"""The commands of distilled sets: write one for others, and evaluate one, ours or theirs."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.options import (
    Config,
    Data,
    Debug,
    DryRun,
    Force,
    Json,
    Settings,
    one_of,
    parse_number,
    parse_optional_numbers,
    parse_settings,
)
from cli.progress import Progress
from cli.running import carry_out

FORMATS = ("parquet", "webdataset", "npz")
SCALES = ("auto", "bytes", "unit", "normalised")
LABEL_KINDS = ("auto", "hard", "probabilities", "logits", "weights")


def export(
    *,
    data: Data,
    labels: Annotated[Path, typer.Option("--labels", metavar="STORE", help="Label store (Zarr).")],
    ipc: Annotated[int, typer.Option("--ipc", min=1, metavar="N", help="Images per class.")],
    expert_epoch: Annotated[
        str,
        typer.Option(
            "--expert-epoch", metavar="K|best", help="Whose labels: an epoch, best or best-on-test."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder of the distilled set.")],
    format: Annotated[
        str,
        typer.Option(
            "--format", metavar="NAME", help="parquet (Hugging Face's), webdataset (.tar) or npz."
        ),
    ] = "parquet",
    expert: Annotated[
        str | None, typer.Option("--expert", metavar="NAME", help="Expert's name inside the store.")
    ] = None,
    view: Annotated[
        str, typer.Option("--view", metavar="NAME", help="View's name inside the store.")
    ] = "plain",
    codec: Annotated[
        str | None,
        typer.Option(
            "--codec", metavar="NAME", help="Codec to read labels from; by default dense."
        ),
    ] = None,
    selection: Annotated[
        str,
        typer.Option(
            "--selection", metavar="NAME", help="Which images, as in a sweep (docs/plans.md)."
        ),
    ] = "random",
    subset_seed: Annotated[
        int, typer.Option("--subset-seed", min=0, metavar="S", help="Seed of the choice of images.")
    ] = 0,
    temperature: Annotated[
        float, typer.Option("--temperature", help="Softens the labels, above 1.")
    ] = 1.0,
    transform: Annotated[
        str,
        typer.Option(
            "--transform", metavar="NAMES", help="What becomes of the labels, such as top-k:4."
        ),
    ] = "soft",
    resolution: Annotated[
        int | None,
        typer.Option(
            "--resolution",
            min=4,
            metavar="PIXELS",
            help="Pixels of the images in npz; by default as was labelled.",
        ),
    ] = None,
    force: Force = False,
    dry_run: DryRun = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Write images, soft labels and a card, for others.

    Its images and labels are those that a sweep's student of the same options gets.
    """
    one_of(format, FORMATS, "--format")
    words = ("best", "best-on-test")
    epoch = expert_epoch if expert_epoch in words else parse_number(expert_epoch, "--expert-epoch")

    def work(progress: Progress) -> Mapping[str, Any]:
        import engine

        return engine.export_distilled(
            data=data,
            labels=labels,
            out=out,
            ipc=ipc,
            expert_epoch=epoch,
            format=format,
            expert=expert,
            view=view,
            codec=codec,
            selection=selection,
            subset_seed=subset_seed,
            temperature=temperature,
            transform=transform,
            resolution=resolution,
            force=force,
            dry_run=dry_run,
            progress=progress,
        )

    carry_out(work, json=json, debug=debug, dry_run=dry_run)


def evaluate(
    *,
    data: Data,
    distilled: Annotated[
        Path,
        typer.Option(
            "--distilled",
            metavar="PATH",
            help="A .pt, .npz, HDF5, parquet or tar file, a folder of images by class, or what "
            "export wrote.",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="EVALUATION",
            help="Folder of the evaluation; by default PATH-evaluation, beside the set.",
        ),
    ] = None,
    config: Config = None,
    seeds: Annotated[
        str | None, typer.Option("--seeds", metavar="LIST", help="A student each; by default 0-4.")
    ] = None,
    images: Annotated[
        str,
        typer.Option(
            "--images",
            metavar="KIND",
            help="Pixel values: bytes (0 to 255), unit (0 to 1), normalised (network inputs), or "
            "auto.",
        ),
    ] = "auto",
    label_kind: Annotated[
        str,
        typer.Option(
            "--label-kind",
            metavar="KIND",
            help="hard, probabilities, logits, weights (targets as they are), or auto.",
        ),
    ] = "auto",
    workers: Annotated[
        str,
        typer.Option("--workers", metavar="N|auto", help="Processes that train at once."),
    ] = "auto",
    threads: Annotated[
        int | None,
        typer.Option(
            "--threads",
            min=1,
            metavar="N",
            help="Threads of each worker; by default an equal share.",
        ),
    ] = None,
    settings: Settings = None,
    dry_run: DryRun = False,
    estimate: Annotated[
        bool,
        typer.Option("--estimate/--no-estimate", help="In a dry run, measure how long it takes."),
    ] = True,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Train students on a distilled set, as a sweep does.

    Three accuracies: final, selected on validation, best on test. Nothing is unpickled beyond
    tensors, and what had to be guessed of the set is said.
    """
    one_of(images, SCALES, "--images")
    one_of(label_kind, LABEL_KINDS, "--label-kind")
    num_workers = "auto" if workers == "auto" else parse_number(workers, "--workers", minimum=1)
    seed_list = parse_optional_numbers(seeds, "--seeds")
    overrides = parse_settings(settings)

    def work(progress: Progress) -> Mapping[str, Any]:
        import engine
        from cli.live import SweepView

        def watch(event: Mapping[str, Any]) -> None:
            if event["event"] == "sweep_started":
                progress.close_display()
            view(event)

        with SweepView() as view:
            return engine.evaluate_distilled(
                data=data,
                distilled=distilled,
                out=out,
                config=config,
                seeds=seed_list,
                images=images,
                label_kind=label_kind,
                workers=num_workers,
                threads=threads,
                overrides=overrides,
                dry_run=dry_run,
                estimate=estimate,
                progress=progress,
                on_event=watch,
            )

    carry_out(work, json=json, debug=debug, dry_run=dry_run)
