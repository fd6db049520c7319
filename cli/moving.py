"""`kerasd migrate-data`: from a laptop's data folder to the servers that the settings name."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from cli.configuration import load_settings
from cli.failures import INVALID, CommandFailed
from cli.folder import held_folder
from cli.parts import part_command

SIGNALLED = 128
"""added to a signal's number, as shells do"""


def migrate_data(*, source: Annotated[Path, Parameter(name="--from")], skip_damaged: bool = False) -> int:
    """Copy the database and artifacts of a data folder into KERASD_DATABASE_URL and KERASD_ARTIFACTS_URL.

    The target must be migrated and empty. The folder is only read, and must not be in use. Safe to stop and repeat.

    Args:
        source: data folder of the laptop, as `kerasd up` makes it.
        skip_damaged: leave out files that are missing or damaged there, and name them.
    """
    load_settings()  # their faults are told here, in plain words
    source = source.expanduser().absolute()
    if not source.is_dir():
        raise CommandFailed(f"there is no folder {source}", INVALID)
    options = ("--skip-damaged",) if skip_damaged else ()
    with held_folder(source):
        command = part_command("migrations.data", "--from", str(source), *options)
        returncode = subprocess.run(command, check=False).returncode
    return returncode if returncode >= 0 else SIGNALLED - returncode
