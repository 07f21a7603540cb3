"""The greenest feasible placement, in space and time: pure, integers only, repeatable by anyone, and explained."""
