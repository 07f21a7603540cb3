"""Instances and plans as files of JSON lines; FORMAT.md describes them."""
