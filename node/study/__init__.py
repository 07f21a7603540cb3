"""Shifting jobs to greener hours and zones, tried on what grids really emitted. Pure; `files/` reads and writes."""
