"""The steps of a job: choose the service, buy, poll, fetch."""
