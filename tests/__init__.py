"""The tests, by package as the house is. `builders` makes what they share."""
