"""What operators ask: one report from a few questions to the store, from which every number that is shown comes."""
