"""Job stores: the contract (`base`), its values, the decision of a claim, and a package for each kind of store."""
