"""Who is let in, how much is taken of each, and what its acts earn it."""
