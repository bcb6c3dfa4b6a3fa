"""Google Cloud Tasks as a queue backend: `access` (who and where), `api` (its calls), `errors` (its errors), `queue`."""
