"""The commands that make artefacts: each the public function of the same name, with its options.

Re-running one of them resumes or extends what is there; on a finished artefact it says so.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.options import (
    Data,
    Debug,
    DryRun,
    Force,
    Json,
    Processes,
    Settings,
    one_of,
    parse_settings,
)
from cli.progress import Progress
from cli.running import carry_out


def build_beton(
    *,
    source: Annotated[
        str,
        typer.Option(
            "--source",
            metavar="PATH|NAME",
            help="Folder with the images; or fashion-mnist, cifar10 or cifar100, to download it.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="DATA", help="Folder of the dataset.")],
    format: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="NAME",
            help="auto (looks what it is), image-folder, tiny-imagenet, imagenet, cifar, idx, "
            "parquet or webdataset (tar shards).",
        ),
    ] = "auto",
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, metavar="N", help="Processes that decode.")
    ] = None,
    on_error: Annotated[
        str,
        typer.Option(
            "--on-error", metavar="fail|skip", help="What to do at an image that is damaged."
        ),
    ] = "fail",
    max_resolution: Annotated[
        int | None,
        typer.Option(
            "--max-resolution", min=1, metavar="PIXELS", help="Shrink images with a longer side."
        ),
    ] = None,
    image_mode: Annotated[
        str,
        typer.Option(
            "--image-mode",
            metavar="auto|raw|jpeg",
            help="How images are stored; auto follows the source.",
        ),
    ] = "auto",
    jpeg_quality: Annotated[
        int, typer.Option("--jpeg-quality", min=1, max=100, help="Quality of images encoded anew.")
    ] = 90,
    jpeg_check: Annotated[
        str,
        typer.Option(
            "--jpeg-check",
            metavar="decode|markers",
            help="How a JPEG that is kept as it is proves whole; markers is faster and finds less.",
        ),
    ] = "decode",
    normalisation: Annotated[
        str,
        typer.Option(
            "--normalisation",
            metavar="NAME",
            help="Mean and std to record: measured, cifar10 or imagenet; zca whitens, too. auto is "
            "cifar10 for CIFAR, imagenet for other JPEGs and PNGs in colour and for folders of "
            "images, measured for greyscale and arrays.",
        ),
    ] = "auto",
    force: Force = False,
    dry_run: DryRun = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Images to a dataset in the FFCV format."""
    one_of(on_error, ("fail", "skip"), "--on-error")

    def work(progress: Progress) -> Mapping[str, Any]:
        import beton_builder

        return beton_builder.build_beton(
            source=source,
            out=out,
            format=format,
            workers=workers,
            on_error=on_error,
            max_resolution=max_resolution,
            image_mode=image_mode,
            jpeg_quality=jpeg_quality,
            jpeg_check=jpeg_check,
            normalisation=normalisation,
            dry_run=dry_run,
            force=force,
            progress=progress,
        )

    carry_out(work, json=json, debug=debug, dry_run=dry_run)


def train_expert(
    *,
    data: Data,
    out: Annotated[Path, typer.Option("--out", metavar="RUN", help="Folder of the expert run.")],
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            metavar="FILE|PRESET",
            help="Recipe: a YAML file, or the name of a preset (docs/plans.md lists them). By "
            "default expert-small for images of one size up to 64 pixels, else expert-imagenet.",
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model", metavar="NAME", help="convnet-d1 to convnet-d6, or a model of timm."
        ),
    ] = None,
    epochs: Annotated[
        int | None, typer.Option("--epochs", min=0, metavar="N", help="Train up to this epoch.")
    ] = None,
    lr: Annotated[float | None, typer.Option("--lr", help="Learning rate.")] = None,
    seed: Annotated[
        int, typer.Option("--seed", min=0, help="Seed of weights, order and augmentation.")
    ] = 0,
    processes: Processes = 1,
    settings: Settings = None,
    hold_out: Annotated[
        bool, typer.Option("--hold-out", help="Train without the validation images.")
    ] = False,
    force: Force = False,
    dry_run: DryRun = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Train an expert, with a checkpoint per epoch."""
    overrides = parse_settings(settings)

    def work(progress: Progress) -> Mapping[str, Any]:
        import engine

        return engine.train_expert(
            data=data,
            out=out,
            config=config,
            model=model,
            epochs=epochs,
            lr=lr,
            seed=seed,
            processes=processes,
            overrides=overrides,
            hold_out=hold_out,
            force=force,
            dry_run=dry_run,
            progress=progress,
        )

    carry_out(work, json=json, debug=debug, dry_run=dry_run)


def report(
    *,
    sweeps: Annotated[
        list[Path],
        typer.Argument(
            metavar="SWEEP...", help="Folders of sweeps, of evaluations, of learned labels."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="REPORT", help="Folder of the report.")],
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            metavar="DATA",
            help="Dataset, for the label explorer; by default where the sweep read it.",
        ),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option("--labels", metavar="STORE", help="Label store, for the label explorer."),
    ] = None,
    dry_run: DryRun = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Sweeps to tables, figures and a web page."""

    def work(progress: Progress) -> Mapping[str, Any]:
        import engine

        return engine.write_report(
            sweeps=sweeps, out=out, data=data, labels=labels, dry_run=dry_run, progress=progress
        )

    carry_out(work, json=json, debug=debug, dry_run=dry_run)


def demo(
    *,
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Folder for everything that it makes.")
    ] = Path("demo"),
    dry_run: DryRun = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Fashion-MNIST through every stage, in minutes."""

    def work(progress: Progress) -> Mapping[str, Any]:
        import engine

        return engine.run_demo(out=out, dry_run=dry_run, progress=progress)

    carry_out(work, json=json, debug=debug, dry_run=dry_run)
