"""How entries travel, whether we may sign, and what a quorum cosigned. Pure."""
