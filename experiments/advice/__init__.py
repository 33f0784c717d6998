"""What to distil, from which teacher and how: advice with evidence, within a budget of minutes."""
