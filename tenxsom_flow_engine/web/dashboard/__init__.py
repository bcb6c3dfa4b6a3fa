"""The dashboard for operators: one module per view, behind a login with the admin token."""
