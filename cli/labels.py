"""The commands that make labels: dumped from an expert, converted, or taken from elsewhere."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.options import (
    Data,
    Debug,
    DryRun,
    Json,
    Processes,
    one_of,
    parse_numbers,
    parse_optional_numbers,
)
from cli.progress import Progress
from cli.running import carry_out

Codec = Annotated[
    str,
    typer.Option(
        "--codec",
        metavar="NAME",
        help="How labels are stored: dense, quantised:BITS (such as quantised:8) or topk:K.",
    ),
]


def dump_labels(
    *,
    data: Data,
    expert: Annotated[
        Path, typer.Option("--expert", metavar="RUN", help="Expert run, as train-expert made it.")
    ],
    out: Annotated[Path, typer.Option("--out", metavar="STORE", help="Label store (Zarr).")],
    all_epochs: Annotated[
        bool, typer.Option("--all-epochs", help="Every epoch that the run has, 0 included.")
    ] = False,
    epochs: Annotated[
        str | None,
        typer.Option("--epochs", metavar="LIST", help="Epochs such as 1,13,36 or 0-40:4."),
    ] = None,
    codec: Codec = "dense",
    view: Annotated[
        str,
        typer.Option(
            "--view",
            metavar="NAME",
            help="Images to label: plain, flip (averaged with the mirror image) or crop:S.",
        ),
    ] = "plain",
    crop_seed: Annotated[
        int, typer.Option("--crop-seed", min=0, metavar="N", help="Seed of the crops of crop:S.")
    ] = 0,
    processes: Processes = 1,
    dry_run: DryRun = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Store an expert's labels of every image."""
    if all_epochs == (epochs is not None):
        raise typer.BadParameter(
            "say which epochs: either --all-epochs or --epochs 1,13,36.", param_hint="--epochs"
        )
    chosen = "all" if epochs is None else parse_numbers(epochs, "--epochs")

    def work(progress: Progress) -> Mapping[str, Any]:
        import engine

        return engine.dump_labels(
            data=data,
            expert=expert,
            out=out,
            epochs=chosen,
            codec=codec,
            view=view,
            crop_seed=crop_seed,
            processes=processes,
            dry_run=dry_run,
            progress=progress,
        )

    carry_out(work, json=json, debug=debug, dry_run=dry_run)


def convert_labels(
    *,
    store: Annotated[Path, typer.Argument(metavar="STORE", help="Label store (Zarr).")],
    codec: Codec,
    expert: Annotated[
        str | None, typer.Option("--expert", metavar="NAME", help="Expert's name inside the store.")
    ] = None,
    view: Annotated[
        str, typer.Option("--view", metavar="NAME", help="View's name inside the store.")
    ] = "plain",
    epochs: Annotated[
        str | None,
        typer.Option(
            "--epochs", metavar="LIST", help="Epochs to convert; by default all there are."
        ),
    ] = None,
    dry_run: DryRun = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Store dense labels in another codec too.

    What the codec costs is measured: largest error of a logit, mean and worst KL divergence.
    """
    chosen = parse_optional_numbers(epochs, "--epochs")

    def work(progress: Progress) -> Mapping[str, Any]:
        import labelstore

        return labelstore.convert_labels(
            path=store,
            codec=codec,
            expert=expert,
            view=view,
            epochs=chosen,
            dry_run=dry_run,
            progress=progress,
        )

    carry_out(work, json=json, debug=debug, dry_run=dry_run)


def import_labels(
    *,
    data: Data,
    source: Annotated[
        Path,
        typer.Option(
            "--source", metavar="FILE", help="Labels: .npz, or a .parquet file or folder of them."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="STORE", help="Label store (Zarr).")],
    expert: Annotated[
        str, typer.Option("--expert", metavar="NAME", help="The teacher's name inside the store.")
    ],
    epoch: Annotated[
        int,
        typer.Option(
            "--epoch", min=0, metavar="K", help="Epoch of the teacher that they are stored as."
        ),
    ] = 0,
    values: Annotated[
        str,
        typer.Option(
            "--values",
            metavar="KIND",
            help="What the labels are: logits, probabilities, or auto to go by the column's name.",
        ),
    ] = "auto",
    column: Annotated[
        str | None,
        typer.Option("--column", metavar="NAME", help="Array or column that holds the labels."),
    ] = None,
    index_column: Annotated[
        str | None,
        typer.Option(
            "--index-column",
            metavar="NAME",
            help="Array or column that says which image a row describes.",
        ),
    ] = None,
    codec: Codec = "dense",
    dry_run: DryRun = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Store labels that were made elsewhere.

    One row for every image of the train split, in its order unless an index says otherwise.
    """
    one_of(values, ("auto", "logits", "probabilities"), "--values")

    def work(progress: Progress) -> Mapping[str, Any]:
        import engine

        return engine.import_labels(
            data=data,
            source=source,
            out=out,
            expert=expert,
            epoch=epoch,
            values=values,
            column=column,
            index_column=index_column,
            codec=codec,
            dry_run=dry_run,
            progress=progress,
        )

    carry_out(work, json=json, debug=debug, dry_run=dry_run)
