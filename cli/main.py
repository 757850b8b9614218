"""Entry point of the `engine` command: the list of commands, and the exit code of the process.

`run` returns to the shell only by `sys.exit`, with the codes of `cli.failures`.
"""

import sys
from collections.abc import Callable, Sequence
from typing import Annotated

import typer

from cli import (
    advice,
    distilled,
    failures,
    inspection,
    labels,
    learning,
    reproduction,
    stages,
    sweeps,
)
from cli.presentation import as_json
from cli.running import silence_stdout, write_stdout
from cli.signals import Terminated, sigterm_raises

app = typer.Typer(
    name="engine",
    help=(
        "Soft labels from images to results: build a dataset, train an expert, store its labels, "
        "train students from them, report.\n\n"
        "Every command resumes or extends what an earlier run of it left. "
        "Results go to stdout, progress to stderr.\n\n"
        "Exit codes: 0 done; 1 damage found or some trials failed; 2 wrong usage, configuration "
        "or environment; 75 stopped by SIGTERM; 130 Ctrl-C."
    ),
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
)

COMMANDS: dict[str, Callable[..., None]] = {
    "build-beton": stages.build_beton,
    "train-expert": stages.train_expert,
    "dump-labels": labels.dump_labels,
    "convert-labels": labels.convert_labels,
    "import-labels": labels.import_labels,
    "learn-labels": learning.learn_labels,
    "derive-labels": learning.derive_labels,
    "sweep-students": sweeps.sweep_students,
    "status": sweeps.status,
    "results": sweeps.results,
    "why": sweeps.why,
    "diff": sweeps.diff,
    "recommend": advice.recommend,
    "export": distilled.export,
    "evaluate": distilled.evaluate,
    "report": stages.report,
    "reproduce": reproduction.reproduce,
    "verify": inspection.verify,
    "info": inspection.info,
    "doctor": inspection.doctor,
    "bench": inspection.bench,
    "demo": stages.demo,
}
for name, command in COMMANDS.items():
    app.command(name)(command)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        write_stdout(f"softlabel-engine {version('softlabel-engine')}\n")
        raise typer.Exit


@app.callback()
def engine(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Options of `engine` itself, before the command's name."""


def run() -> None:
    """The console script: run the command that was typed and end the process."""
    sys.exit(main(sys.argv[1:]))


def main(arguments: Sequence[str]) -> int:
    """Run one command line (without the program's name); returns the exit code of the process."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal that can't show ± is no error
    try:
        with sigterm_raises():
            code = app(list(arguments), prog_name="engine", standalone_mode=False)
        return code if isinstance(code, int) else failures.EXIT_DONE
    except BrokenPipeError:
        silence_stdout()
        return failures.EXIT_DONE
    except (Exception, KeyboardInterrupt, Terminated) as error:
        return _report(error, arguments)


def _report(error: BaseException, arguments: Sequence[str]) -> int:
    """Failures outside a command's own work, above all options that can't be understood."""
    failure = failures.explain(error)
    if hasattr(error, "show") and hasattr(error, "format_message"):
        error.show(file=sys.stderr)  # typer's usage errors: the usage line, the hint, the message
        failure = failures.Failure(
            kind=failure.kind, message=error.format_message(), exit_code=failure.exit_code
        )
    else:
        failures.show(failure, error, debug="--debug" in arguments)
    if "--json" in arguments:
        write_stdout(as_json(failure.document()))
    return failure.exit_code


if __name__ == "__main__":
    run()
