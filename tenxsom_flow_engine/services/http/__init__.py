"""Shared parts of services over HTTP: client, connections, downloads, and a fake server for tests."""
