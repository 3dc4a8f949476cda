"""Azurite as the sandbox starts it: installed once, ports of its own, data that survives a restart."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from azure.data.tables import TableServiceClient
from azure.storage.blob import BlobServiceClient
from azure.storage.queue import QueueServiceClient

from sandbox import azurite as module
from sandbox.azurite import NODE_FOLDER, Azurite
from sandbox.processes import Child

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.xdist_group("azurite")


@pytest.fixture
def on_disk(tmp_path: Path) -> Iterator[Azurite]:
    """Storage that keeps its data in a folder."""
    azurite = Azurite.start(tmp_path / "storage", in_memory=False)
    yield azurite
    azurite.stop()


def test_a_second_install_has_nothing_to_do() -> None:
    """`make demo` starts at once when everything is there."""
    module.install()
    began = time.monotonic()
    ended = subprocess.run(
        [sys.executable, "-m", "sandbox.azurite", "--install"], cwd=ROOT, capture_output=True, text=True, timeout=30, check=True
    )

    assert ended.stdout == "Azurite is already installed.\n"
    assert time.monotonic() - began < 2


def test_a_changed_lock_asks_for_a_new_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed version that is not the locked one is not taken for it."""
    folder = tmp_path / "node"
    (folder / "node_modules").mkdir(parents=True)
    (folder / "package-lock.json").write_text("{}", "utf-8")
    monkeypatch.setattr(module, "NODE_FOLDER", folder)
    (folder / "node_modules" / ".installed").write_text(module._lock_digest(), "ascii")
    before = module._is_installed()
    (folder / "package-lock.json").write_text('{"changed": true}', "utf-8")

    assert (before, module._is_installed()) == (True, False)


def test_the_lock_names_versions_and_checksums_but_no_place() -> None:
    """Where packages come from is the machine's own business."""
    lock = json.loads((NODE_FOLDER / "package-lock.json").read_text("utf-8"))
    packages = {name: package for name, package in lock["packages"].items() if name}

    assert all(package["integrity"].startswith("sha512-") for package in packages.values())
    assert not [name for name, package in packages.items() if "resolved" in package]


def test_all_three_services_answer_microsofts_own_clients(on_disk: Azurite) -> None:
    """Blobs, queues and tables under one connection string, and nothing on the usual ports."""
    connection = on_disk.connection_string
    with BlobServiceClient.from_connection_string(connection) as blobs:
        blobs.create_container("parts").upload_blob("one", b"1")
    with QueueServiceClient.from_connection_string(connection) as queues:
        queues.create_queue("steps").send_message("1")
    with TableServiceClient.from_connection_string(connection) as tables:
        tables.create_table("jobs").create_entity({"PartitionKey": "a", "RowKey": "b"})

    assert len(set(on_disk.ports)) == 3
    assert not {10000, 10001, 10002} & set(on_disk.ports)


def test_a_restart_keeps_ports_and_data(on_disk: Azurite) -> None:
    """What a client holds stays valid while storage goes away and comes back."""
    ports = on_disk.ports
    with QueueServiceClient.from_connection_string(on_disk.connection_string) as queues:
        queue = queues.create_queue("steps")
        queue.send_message("still here")
        on_disk.restart()

        assert on_disk.ports == ports
        assert [message.content for message in queue.receive_messages()] == ["still here"]


def test_two_of_them_live_side_by_side(on_disk: Azurite, tmp_path: Path) -> None:
    """Each test can have storage of its own; in memory, nothing is left behind."""
    other = Azurite.start(tmp_path / "other")
    try:
        assert not set(on_disk.ports) & set(other.ports)
    finally:
        other.stop()

    assert [file.name for file in (tmp_path / "other").iterdir()] == ["azurite.log"]
    assert not other.child.is_running()


def test_served_by_hand_it_prints_its_connection_string(tmp_path: Path) -> None:
    """Whoever uses `func start` can have the same storage."""
    args = [sys.executable, "-m", "sandbox.azurite", "--folder", str(tmp_path)]
    child = Child.start("azurite", args, log_file=tmp_path / "served.log", cwd=ROOT)
    child.stop()

    assert "QueueEndpoint=http://127.0.0.1:" in child.facts["connection_string"]
