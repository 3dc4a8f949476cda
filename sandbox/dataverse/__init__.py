"""A Dataverse environment with Customer Insights - Journeys, imitated over HTTP as far as a product around segments needs."""

from sandbox.dataverse.simulator import DataverseSimulator

__all__ = ["DataverseSimulator"]
