"""How a command ends when it cannot go on: one message with the fact and the remedy, and an exit code.

In: errors that a user can mend. Out: the commands (`cli`); any other error keeps its trace.
"""

from __future__ import annotations

import sys
from typing import Any

import click

from resources.errors import ServerError, SettingError, SynthError


class ErrorExplainingGroup(click.Group):
    """Turns the errors that a user can mend into one message and an exit code; other errors keep their trace."""

    def invoke(self, ctx: click.Context) -> Any:
        """What the command gives; exit code 2 for a setting, 1 for what failed, 130 for Ctrl-C."""
        try:
            return super().invoke(ctx)
        except SettingError as error:
            _fail(error, 2)
        except SynthError as error:
            _fail(error, 1)
        except KeyboardInterrupt as error:
            click.echo("\nStopped. What was answered is kept; the same command goes on from there.", err=True)
            _echo_notes(error)
            sys.exit(130)
        except Exception as error:
            if (known := _storage_error(error)) is None:
                raise
            _fail(known, 1)


def _fail(error: SynthError, code: int) -> None:
    click.echo(f"Error: {error}", err=True)
    _echo_notes(error)
    if isinstance(error, ServerError):
        click.echo("`synth serve` starts a server; `synth status` shows what is kept.", err=True)
    sys.exit(code)


def _echo_notes(error: BaseException) -> None:
    for note in getattr(error, "__notes__", ()):
        click.echo(note, err=True)


def _storage_error(error: Exception) -> SynthError | None:
    from resources.storage_errors import explain_storage
    from synth_assets.settings import Settings

    try:
        known = explain_storage(error, [Settings.from_environment().home])
    except SettingError:
        return None
    if known is not None:
        for note in getattr(error, "__notes__", ()):
            known.add_note(note)
    return known
