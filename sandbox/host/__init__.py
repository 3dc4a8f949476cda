"""A local Azure Functions host: Microsoft's own runtime library does the work, this package is what surrounds it.

`python -m sandbox.host --app FOLDER` indexes the app, serves its HTTP functions on loopback, listens to its queues and runs
its timers. `settings` reads what the app is configured with, `runtime` calls Microsoft's library, `http_server`, `queues` and
`timers` are the three triggers, `faults` is what can be made to go wrong.

Not imitated: keys kept in storage (one key from the command line instead), scaling, the check of host.json, sign-in by the
platform, other bindings than HTTP, queue and timer, retry policies, timers that remember a missed run, streaming, and logs in
Application Insights.
"""
