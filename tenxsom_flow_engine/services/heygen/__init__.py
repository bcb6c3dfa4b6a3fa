"""HeyGen (v3): a presenter speaks a script, or a video agent makes a whole video of a topic."""
