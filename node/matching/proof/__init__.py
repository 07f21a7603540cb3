"""How far from the best a plan can be: a bound by prices, which anyone recomputes."""
