"""What services over HTTP share: client, connections, downloads, and a fake server for tests."""
