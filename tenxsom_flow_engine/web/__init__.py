"""The way in for queue backends that push, and what a worker says of itself over HTTP."""
