"""Video services on a real socket of this machine, with the behaviours and faults that the real ones document."""
