"""Shifting jobs to greener hours and zones, tried on what grids really emitted. Pure.

`lines` is the neutral format in and out (FORMAT.md), `planner` makes plans, `answer` answers a line, `shift` tries
planners on traces (`traces`) beside others (`rivals`)."""
