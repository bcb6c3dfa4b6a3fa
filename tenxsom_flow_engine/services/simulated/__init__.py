"""The simulated service: a rehearsal with faults to order, no cost and no network."""
