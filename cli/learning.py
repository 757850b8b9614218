"""The commands that make labels without an expert: learned, or derived from the images alone."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.labels import Codec
from cli.options import Config, Data, Debug, DryRun, Force, Json, Settings, one_of, parse_settings
from cli.progress import Progress
from cli.running import carry_out

METHODS = ("class-mean-images", "random-features")


def learn_labels(
    *,
    data: Data,
    out: Annotated[
        Path, typer.Option("--out", metavar="LEARNED", help="Folder of the learned labels.")
    ],
    config: Config = None,
    ipc: Annotated[
        int | None, typer.Option("--ipc", min=1, metavar="N", help="Images per class.")
    ] = None,
    steps: Annotated[
        int | None, typer.Option("--steps", min=0, metavar="N", help="Learn up to this outer step.")
    ] = None,
    model: Annotated[
        str | None, typer.Option("--model", metavar="NAME", help="The students' network.")
    ] = None,
    initial: Annotated[
        str | None,
        typer.Option(
            "--initial",
            metavar="KIND",
            help="Labels to begin with: hard (smoothed), uniform, or expert (see --labels).",
        ),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option("--labels", metavar="STORE", help="Label store of --initial expert."),
    ] = None,
    expert: Annotated[
        str | None,
        typer.Option("--expert", metavar="NAME", help="Which expert of --labels or --compare."),
    ] = None,
    expert_epoch: Annotated[
        int | None,
        typer.Option("--expert-epoch", min=0, metavar="K", help="Epoch of --initial expert."),
    ] = None,
    compare: Annotated[
        Path | None,
        typer.Option(
            "--compare", metavar="STORE", help="Compare the result with every epoch of this store."
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option("--seed", min=0, help="Seed of everything that is drawn.")
    ] = 0,
    settings: Settings = None,
    force: Force = False,
    dry_run: DryRun = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Learn labels of random images through training."""
    overrides = parse_settings(settings)
    if initial is not None:
        one_of(initial, ("hard", "uniform", "expert"), "--initial")

    def work(progress: Progress) -> Mapping[str, Any]:
        import engine

        return engine.learn_labels(
            data=data,
            out=out,
            config=config,
            ipc=ipc,
            steps=steps,
            model=model,
            initial=initial,
            labels=labels,
            expert=expert,
            expert_epoch=expert_epoch,
            compare=compare,
            seed=seed,
            overrides=overrides,
            force=force,
            dry_run=dry_run,
            progress=progress,
        )

    carry_out(work, json=json, debug=debug, dry_run=dry_run)


def derive_labels(
    *,
    data: Data,
    out: Annotated[Path, typer.Option("--out", metavar="STORE", help="Label store (Zarr).")],
    method: Annotated[
        str,
        typer.Option(
            "--method",
            metavar="NAME",
            help="class-mean-images, or random-features (of an untrained network).",
        ),
    ] = "class-mean-images",
    entropy: Annotated[
        str,
        typer.Option(
            "--entropy",
            metavar="LIST",
            help="Mean entropies in nats, such as 1.5,3; 3 becomes epoch 300.",
        ),
    ] = "3",
    expert: Annotated[
        str | None,
        typer.Option("--expert", metavar="NAME", help="Name of the labels inside the store."),
    ] = None,
    model: Annotated[
        str, typer.Option("--model", metavar="NAME", help="Network of random-features.")
    ] = "convnet-d3",
    resolution: Annotated[
        int | None,
        typer.Option(
            "--resolution",
            min=4,
            metavar="PIXELS",
            help="Pixels to which images that differ in size are brought.",
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option("--seed", min=0, help="Seed of the weights of random-features.")
    ] = 0,
    codec: Codec = "dense",
    dry_run: DryRun = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Store labels made from the images alone.

    Classes are as alike as their mean images (or features) are near; no expert is asked.
    """
    one_of(method, METHODS, "--method")
    entropies = _parse_entropies(entropy)

    def work(progress: Progress) -> Mapping[str, Any]:
        import engine

        return engine.derive_labels(
            data=data,
            out=out,
            method=method,
            entropies=entropies,
            expert=expert,
            model=model,
            resolution=resolution,
            seed=seed,
            codec=codec,
            dry_run=dry_run,
            progress=progress,
        )

    carry_out(work, json=json, debug=debug, dry_run=dry_run)


def _parse_entropies(text: str) -> list[float]:
    """`"1.5,3"` → `[1.5, 3.0]`."""
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise typer.BadParameter(
            f"{text!r}: expected numbers with commas, such as 1.5,3.", param_hint="--entropy"
        ) from None
