"""Peers that nobody has named: the Kademlia table, and mDNS on one wire."""
