"""Settings of the gate's property tests."""

from hypothesis import settings

# No deadline: on a machine shared with other work a slow example says nothing about the gate.
settings.register_profile("gate", deadline=None)
settings.load_profile("gate")
