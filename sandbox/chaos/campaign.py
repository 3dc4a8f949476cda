"""A campaign: as many waves as the runs need, shared out among worlds that are used again until one has had a failure."""

import json
import shutil
import threading
import time
import traceback
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Empty, Queue
from typing import Any

from sandbox.chaos.checks import problems_of, problems_of_wave
from sandbox.chaos.deck import WAVE, plan_wave, wave_of
from sandbox.chaos.field import Field, options
from sandbox.chaos.people import People
from sandbox.chaos.wave import Played, Wave
from sandbox.world import RUNS

KEPT = RUNS / "chaos"
_WAVE_ITSELF = -1


class Campaign:
    """Plays waves of one or several seeds. Worlds work side by side in threads; each takes the next wave when it has done one."""

    def __init__(self, waves: Iterable[tuple[int, int]]) -> None:
        self.waves: Queue[tuple[int, int]] = Queue()
        self.results: dict[int, dict[str, Any]] = {}
        for seed, number in waves:
            self.waves.put((seed, number))
            self.results[seed] = {"seed": seed, "runs": 0, "seconds": 0.0, "failures": []}
            self.results[seed] |= {name: Counter() for name in ("planned", "struck", "ends", "figures")}
        self._lock = threading.Lock()
        self._began: dict[int, float] = {}

    def work(self) -> None:
        """Play waves until none is left."""
        world: tuple[Field, People] | None = None
        try:
            while (wave := self._next()) is not None:
                world = world or _new_world()
                if not self._play(*wave, *world):
                    world[0].stop()
                    world = None
        finally:
            if world:
                world[0].stop()

    def _next(self) -> tuple[int, int] | None:
        try:
            seed, number = self.waves.get_nowait()
        except Empty:
            return None
        self._began.setdefault(seed, time.monotonic())
        return seed, number

    def _play(self, seed: int, number: int, field: Field, people: People) -> bool:
        """Play a wave and judge it; False when something went wrong in this world."""
        try:
            played = Wave(field, people, plan_wave(seed, number)).play()
        except Exception:  # noqa: BLE001  a defect of the harness must be seen, and must not end the other waves
            self._note(seed, number, [(_WAVE_ITSELF, [f"the harness failed: {traceback.format_exc()}"])], None, field)
            return False
        judged = [(watched.run.number, problems_of(watched, field.pool)) for watched in played.runs]
        judged.append((_WAVE_ITSELF, problems_of_wave(played)))
        found = [(run, problems) for run, problems in judged if problems]
        self._note(seed, number, found, played, field)
        return not found

    def _note(self, seed: int, number: int, found: list[tuple[int, list[str]]], played: Played | None, field: Field) -> None:
        with self._lock:
            result = self.results[seed]
            if played:
                _add_up(result, played)
            result["seconds"] = round(time.monotonic() - self._began[seed], 1)
            for run, problems in found:
                result["failures"].append(_failure(seed, number, run, problems))
            told = f"{played.seconds:.0f} s, {sum(played.struck.values())} faults struck" if played else "broken off"
            print(f"  seed {seed}, wave {number}: {told}, {len(found)} failures", flush=True)
            if found:
                _keep(seed, number, field, found, played)


def run(seeds: Sequence[int], runs: int, *, only: int | None = None, parallel: int = 3) -> list[dict[str, Any]]:
    """Play whole waves until `runs` jobs of each seed were played (or only the wave of one run); return a result per seed."""
    wanted = range(runs) if only is None else range(only, only + 1)
    waves = [(seed, number) for seed in seeds for number in sorted({wave_of(one) for one in wanted})]
    campaign = Campaign(waves)
    workers = max(1, min(parallel, len(waves)))
    with ThreadPoolExecutor(workers, thread_name_prefix="world") as pool:
        for work in [pool.submit(campaign.work) for _ in range(workers)]:
            work.result()
    return list(campaign.results.values())


def _add_up(result: dict[str, Any], played: Played) -> None:
    result["runs"] += len(played.runs)
    result["planned"] += played.planned
    result["struck"] += played.struck
    result["ends"].update(watched.shown for watched in played.runs)
    result["figures"].update(
        {
            "members": sum(watched.run.members for watched in played.runs),
            "app starts": played.starts,
            "retries by a person": sum(len(watched.failures) for watched in played.runs),
            "went live again by a person": sum(watched.went_live_again for watched in played.runs),
            "rests until the next day": len(played.parked),
            "requests to LinkedIn": len(played.linkedin_calls),
            "requests to Dataverse": len(played.dataverse_calls),
        }
    )


def _failure(seed: int, number: int, run_number: int, problems: list[str]) -> dict[str, Any]:
    alone = run_number != _WAVE_ITSELF
    who = f"run {run_number}" if alone else f"the wave of runs {WAVE * number} to {WAVE * number + WAVE - 1}"
    return {"seed": seed, "who": who, "only": run_number if alone else WAVE * number, "problems": problems}


def _new_world() -> tuple[Field, People]:
    field = Field.start(options())
    field.load_pool()
    return field, People(field)


def _keep(seed: int, number: int, field: Field, found: list[tuple[int, list[str]]], played: Played | None) -> None:
    """Keep the logs, the plan, the problems and the requests of a wave that failed, for whoever looks into it."""
    target = KEPT / f"seed-{seed}-wave-{number}"
    target.mkdir(parents=True, exist_ok=True)
    for log in field.folder.glob("*.log"):
        shutil.copy(log, target / log.name)
    told: dict[str, Any] = {"plan": plan_wave(seed, number).to_json(), "problems": found}
    if played:
        told |= {"runs": [watched.to_json() for watched in played.runs], "struck": played.struck}
        told |= {"linkedin": played.linkedin_calls, "dataverse": played.dataverse_calls}
    Path(target, "wave.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
