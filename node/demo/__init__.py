"""`heliotrope demo`: five real nodes on this machine train one model, and one of them is lost on the way."""

from node.demo.story import run

__all__ = ["run"]
