"""Real programs against a real server process: what a new user would run, and what they would compare."""
