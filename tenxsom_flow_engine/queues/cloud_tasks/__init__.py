"""Google Cloud Tasks as a carrier: `access` (who and where), `api` (its calls), `errors` (its errors), `queue`."""
