"""Planning: reads topics from files, chooses topics from a built-in list, and sets the time of each job."""
