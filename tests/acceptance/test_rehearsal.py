"""The administrator's whole day, played with the real commands."""

import json
from pathlib import Path

from sandbox.rehearsal import rehearse


def test_an_administrators_day_goes_well_from_an_empty_environment_to_an_empty_one(tmp_path: Path) -> None:
    """Install, check, a job, again, interrupted and continued, upgrade, remove: the forms are as before."""
    told: list[str] = []

    went_well = rehearse(told.append, tmp_path / "rehearsal.json")

    assert went_well, told
    steps = json.loads((tmp_path / "rehearsal.json").read_text())["steps"]
    assert len(steps) == 8
