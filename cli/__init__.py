"""The `engine` command: options in, one call of a public function, a summary and an exit code out.

Nothing is computed here. Each command turns its options into the arguments of the function of the
same name (`beton_builder.build_beton`, `engine.train_expert`, …), so that what the command line
does, a notebook does in one line.

| Module | What happens there |
|---|---|
| `main` | the command's entry point and its list of commands |
| `stages` | the commands that make artefacts |
| `inspection` | the commands that look at artefacts and at this machine |
| `options` | the options that commands share, and the parsing of lists and `--set a.b=c` |
| `running` | one command's envelope: progress, result on stdout, exit code |
| `failures` | what went wrong → one plain message and an exit code |
| `progress` | bars on a terminal, plain lines elsewhere |
| `presentation` | a result → JSON or aligned text |
| `artefacts` | a path → the kind of artefact that lies there |

Nothing outside the standard library and typer is imported before a command starts its work:
`engine --help` takes about 0.15 s, importing torch and zarr would make it some seconds.
"""
