"""The way in for carriers that push, and what a worker says of itself over HTTP."""
