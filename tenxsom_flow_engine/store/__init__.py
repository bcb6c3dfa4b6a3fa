"""The job store: its interface (`base`), and one package for each place that can keep the records."""
