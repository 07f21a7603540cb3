"""Tests of blobs between nodes."""
