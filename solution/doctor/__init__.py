"""The doctor: a whole installation looked at from end to end, beyond what is in Dataverse.

With the function app's own settings it asks the app, the storage account, LinkedIn and Dataverse, and sends one test row on the
whole way through the app and back. Nothing else is changed, and nothing secret is told.
"""

from solution.doctor.examine import Senses, examine

__all__ = ["Senses", "examine"]
