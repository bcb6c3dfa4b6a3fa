"""What is known about every job: one contract (`base`), one module for each place it can be kept."""
