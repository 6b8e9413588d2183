"""The command reference ``docs/cli.md``, made from the same objects as ``--help``.

``python -m corrtool.cli.reference``.
"""

from __future__ import annotations

from typing import Any

import typer.main

from corrtool.cli import build_app

_HEAD = """# Command reference

Made from `--help` by `python -m corrtool.cli.reference > docs/cli.md`; a test fails when it drifts.

**Where a setting comes from:** flag > environment variable > `corrtool.toml` > preset > default. The environment
variable of a stage's setting is `CORRTOOL_<STAGE>_<SETTING>`, such as `CORRTOOL_LEARN_CORR_LAMBDA_Q`; the common ones are
`CORRTOOL_PROJECT`, `CORRTOOL_SEED`, `CORRTOOL_DEVICE` and `CORRTOOL_PRESET`. In `corrtool.toml` a stage's settings stand in
a section of its name (`[learn-corr]`), `seed`, `device` and `preset` in `[defaults]`. Defaults shown here are those for
images; the preset `default` changes some for vector states (`corrtool/presets/default.toml`), and `--dry-run` shows what
holds in your project. `quickstart` and `reproduce` run stages with the settings of the preset and of `corrtool.toml`, and nothing else.

**What a stage reads** (`memory`, `source-memory`, `target-memory`, `model`, `q`, `corr`) is named in the same way: flag > environment
variable (`CORRTOOL_LEARN_CORR_SOURCE_MEMORY`) > the stage's section of `corrtool.toml`; else it is the newest that fits. `--dry-run`
has a line for each input that is missing so far, and exit code 0.

**Which project:** `--project`, else `$CORRTOOL_PROJECT`, else the nearest parent directory with a `corrtool.toml`.

**Environments of your own:** the id `module:Id` imports `module`, which runs its code, and calls its `register_envs()` where it has
one and `Id` is not registered yet. Neither the project's directory nor the current one is searched: install the package, or set
`PYTHONPATH` to its directory. Installed packages are trusted, and so is what you name yourself in `corrtool init`. A project that came
from elsewhere and names code outside the installed packages asks in a terminal, and fails otherwise, unless `CORRTOOL_TRUST` holds the
module's name (several with commas). Nothing else in a project is ever executed or unpickled. Symbolic links that lead out of the
project are refused.

**Running a command again:** finished with the same settings, seed and inputs: it says so and exits with 0. Interrupted: it
goes on from its last checkpoint. Other settings under the same name: refused; choose another `--name`, or `--overwrite`.
What is overwritten stays until its successor is finished, and for good where that fails at once.

**Names:** without `--name` a stage makes one from what it reads and does, and the seed where that is not 0 (`source-dqn-seed1`), so
that a loop over seeds needs none. Inputs are the newest that fit: put all stages into the loop, or name the inputs in it (`--q`, `--model`,
`--source-memory`, `--corr`), or every seed reads what the last one made.

**What `--json` prints:** of every stage `stage`, `name`, `seed`, `settings`, `artifacts` (a list with `kind`, `name` and `sha256` of what
it made), `metrics` (the numbers it came to, such as `env_steps`, `mean_return` or `validation_l1`), and what only that stage has to
tell. It is the same where the run was done already.

**A longer training:** `train-dqn --extend` with a larger `--env-steps` goes on from the finished run of that name, and takes its place
once it is finished. It begins with the weights that were kept, the records of M_S, the counters and the metrics; the optimizer and the
rest of the replay memory begin anew, and schedules are those of the new length.

| exit code | meaning |
| --- | --- |
| 0 | done |
| 1 | failed: full disk, diverged training, a bug |
| 2 | usage: the command, its settings or `corrtool.toml` make no sense |
| 3 | an artifact or the project is missing, damaged or does not fit |
| 4 | the device is not there |
| 5 | another process is writing the same artifact |
| 130, 143 | interrupted by SIGINT, or by SIGTERM, SIGUSR1, SIGUSR2 or SIGHUP; resumable |

A signal that was ignored when the process began (`nohup`, `&` in a script) stays ignored.

Files that corrtool did not make (`.DS_Store`, notes, weights that something else made) harm nothing; `status` and `verify` name
those that stand beside artifacts, which is not a failure.

Errors are one line on stderr that says what happened and what to do; `corrtool --debug COMMAND …` adds a traceback.
"""


def reference() -> str:
    """The whole reference as Markdown."""
    command: Any = typer.main.get_command(build_app())
    parts = [_HEAD]
    for name, subcommand in command.commands.items():
        arguments = [p for p in subcommand.params if p.param_type_name == "argument"]
        usage = " ".join(["corrtool", name, *(p.metavar for p in arguments), "[OPTIONS]"])
        parts.append(
            f"\n## `{name}`\n\n{subcommand.help}\n\n    {usage}\n\n| option | default | what it is |\n| --- | --- | --- |"
        )
        for parameter in subcommand.params:
            if parameter.param_type_name == "argument":
                parts.append(f"| `{parameter.metavar}` | required | {_cell(parameter.help)} |")
            elif parameter.name != "help" and not parameter.hidden:
                parts.append(
                    f"| `{_flags(parameter)}` | {_default(parameter)} | {_cell(parameter.help)} |"
                )
    return "\n".join(parts) + "\n"


def _flags(parameter: Any) -> str:
    flags = ", ".join(parameter.opts)
    return f"{flags} / {', '.join(parameter.secondary_opts)}" if parameter.secondary_opts else flags


def _default(parameter: Any) -> str:
    if parameter.required:
        return "required"
    if isinstance(parameter.show_default, str):
        return _cell(parameter.show_default)
    if parameter.default in (None, False) or not parameter.show_default:
        return ""
    return _cell(str(parameter.default))


def _cell(text: str | None) -> str:
    return (text or "").replace("|", "\\|").strip()


if __name__ == "__main__":
    print(reference(), end="")
