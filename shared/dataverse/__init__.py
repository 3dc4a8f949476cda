"""Dataverse: its dialect, sending, signing in, and what the product keeps there."""
