"""How fast the product is, measured against yardsticks in the same run."""
