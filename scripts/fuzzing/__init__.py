"""Random and nearly right inputs for everything of the product that reads outside data; `scripts/fuzz.py` runs them."""
