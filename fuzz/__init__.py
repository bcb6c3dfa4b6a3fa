"""Mutated inputs with a fixed seed: `make fuzz`. Each is accepted, or refused with an error of the engine's tree."""
