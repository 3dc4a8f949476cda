"""LinkedIn's side: its dialect, its client, its sign-in."""
