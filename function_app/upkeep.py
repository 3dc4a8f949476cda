"""Timers: wake jobs whose message was lost, tidy up, warn about sign-ins that end soon."""

import azure.functions as func

from function_app.product import product

blueprint = func.Blueprint()


@blueprint.function_name("wake_jobs")
@blueprint.timer_trigger(arg_name="timer", schedule="%UPKEEP_SCHEDULE%", run_on_startup=False, use_monitor=False)
def wake_jobs(timer: func.TimerRequest) -> None:  # noqa: ARG001  the host passes the timer
    """Send overdue messages again and ring for rows whose webhook never came."""
    product().upkeep.wake()


@blueprint.function_name("tidy_up")
@blueprint.timer_trigger(arg_name="timer", schedule="%TIDY_SCHEDULE%", run_on_startup=False, use_monitor=False)
def tidy_up(timer: func.TimerRequest) -> None:  # noqa: ARG001  the host passes the timer
    """Delete what is older than it is kept, and warn users whose sign-in ends soon."""
    product().upkeep.tidy()
    product().upkeep.warn()
