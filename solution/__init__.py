"""What is installed into a Dataverse environment, and the command that installs, checks, removes and exports it."""

VERSION = "0.1.0.0"
"""Version of the Dataverse solution: the product's own with a build number; an upgrade raises it in the environment."""
