"""Gossipsub v1.1: what is heard, judged and handed on."""
