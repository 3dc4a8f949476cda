"""The entry points of the app on Azure Functions: translate, delegate, answer.

Importing this package reads no setting and opens nothing.
"""

import azure.functions as func

from function_app import dataverse_events, health, job_steps, linkedin_signin, upkeep

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)

for part in (dataverse_events, job_steps, linkedin_signin, upkeep, health):
    app.register_functions(part.blueprint)

del part

__all__ = ["app"]
