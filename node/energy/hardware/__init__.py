"""Meters in the hardware that trains, and how what they count is divided among the workers that share it."""
