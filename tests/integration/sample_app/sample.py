"""A small app for the tests of the local host: one function for each thing that the host has to do."""

import json
import logging
import os
import threading
import time
from datetime import timedelta

import azure.functions as func  # noqa: TID251 - this app stands in for function_app/

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)
log = logging.getLogger("sample")


def note(**facts: object) -> None:
    """Log facts as one JSON line, which is where the tests look."""
    log.info(json.dumps({"sample": True, **facts}))


@app.route(route="echo/{name}/{number:int?}", methods=["GET", "POST"])
def echo(req: func.HttpRequest) -> func.HttpResponse:
    """Answer with everything that came in, and with two cookies."""
    seen = {
        "method": req.method,
        "url": req.url,
        "params": dict(req.route_params),
        "query": dict(req.params),
        "header": req.headers.get("X-Sample"),
        "body": req.get_body().hex(),
    }
    response = func.HttpResponse(
        json.dumps(seen), status_code=202, mimetype="application/json", headers={"Location": "/api/jobs/1"}
    )
    response.headers.add("Set-Cookie", "first=1; Path=/; HttpOnly")
    response.headers.add("Set-Cookie", "second=2; Path=/; SameSite=Lax")
    return response


@app.route(route="echo/fixed")
def fixed(req: func.HttpRequest) -> str:
    """Answer any method with a text."""
    return f"fixed {req.method}"


@app.route(route="bytes", methods=["POST"])
def mirror(req: func.HttpRequest) -> func.HttpResponse:
    """Give the body back."""
    return func.HttpResponse(req.get_body(), mimetype="application/octet-stream")


@app.route(route="parse", methods=["POST"])
def parse(req: func.HttpRequest) -> func.HttpResponse:
    """Fail when the body is not JSON, as careless code does."""
    return func.HttpResponse(json.dumps(req.get_json()))


@app.route(route="slow/{seconds}")
def slow(req: func.HttpRequest) -> str:
    """Take a while."""
    time.sleep(float(req.route_params["seconds"]))
    return "done"


@app.route(route="locked", auth_level=func.AuthLevel.FUNCTION)
async def locked(req: func.HttpRequest) -> func.HttpResponse:
    """Answer whoever has the key."""
    return func.HttpResponse(f"open to {req.method}")


@app.route(route="forward/{text}", methods=["POST"])
@app.queue_output(arg_name="out", queue_name="%WORK_QUEUE%", connection="AzureWebJobsStorage")
def forward(req: func.HttpRequest, out: func.Out[str]) -> func.HttpResponse:
    """Put a text into the queue through the output binding."""
    out.set(req.route_params["text"])
    return func.HttpResponse(status_code=202)


running: set[int] = set()


@app.queue_trigger(arg_name="message", queue_name="%WORK_QUEUE%", connection="AzureWebJobsStorage")
def work(message: func.QueueMessage) -> None:
    """Do what the message says: note it, sleep, or fail."""
    text = message.get_body().decode()
    inserted, expires = message.insertion_time, message.expiration_time
    lives = expires - inserted if inserted and expires else timedelta(0)
    running.add(threading.get_ident())
    note(began=text, tries=message.dequeue_count, days=lives.days, at_once=len(running))
    try:
        if text.startswith("fail"):
            raise RuntimeError(f"asked to fail by {text}")
        if text.startswith("sleep "):
            time.sleep(float(text.split()[1]))
    finally:
        running.discard(threading.get_ident())
    note(done=text)


@app.timer_trigger(arg_name="timer", schedule="%TICK%")
def tick(timer: func.TimerRequest) -> None:
    """Note that the time has come."""
    note(tick=True, past_due=timer.past_due, setting=os.environ.get("SAMPLE"))


@app.timer_trigger(arg_name="timer", schedule="0 0 0 1 1 *", run_on_startup=False)
def yearly(timer: func.TimerRequest) -> None:
    """Note a run that only a person can have asked for."""
    note(yearly=True, past_due=timer.past_due)
