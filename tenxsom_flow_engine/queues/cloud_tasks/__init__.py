"""Google Cloud Tasks as a queue backend: `access` (credentials and project), `api` (calls), `errors`, `queue`."""
