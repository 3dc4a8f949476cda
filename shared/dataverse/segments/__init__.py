"""How the members of each kind of segment are read."""
