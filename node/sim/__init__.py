"""Whole networks in virtual time: the same `node.core.Node`, real ledgers and signatures, simulated everything else.

A run is decided by its seed alone. Faults are named probabilities; a failure is a seed.
"""
