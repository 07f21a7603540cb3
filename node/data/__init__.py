"""Blobs between nodes: by HTTPS where the server can be dialled, else by a libp2p stream; one ticket for both roads."""
