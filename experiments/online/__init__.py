"""A simulated live experiment: policies rank slates for visitors of a world whose truth is known."""
