"""Runs on executors. The learning rate of every step, from the schedule that the user set."""
