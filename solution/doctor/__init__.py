"""The doctor: a whole installation looked at from end to end, beyond what is in Dataverse.

It reads the function app's own settings (from the environment or a settings file), asks the app, the storage
account, LinkedIn and Dataverse, and sends one test row on the whole way through the app and back. Nothing else
is changed.
"""

from solution.doctor.examine import examine, read_settings

__all__ = ["examine", "read_settings"]
