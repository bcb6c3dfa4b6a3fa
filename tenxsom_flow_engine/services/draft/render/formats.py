"""What can be drafted, for the service and the renderer alike; importing it loads nothing heavy."""

NAME = "draft"
#: Seconds.
MAX_DURATION = 60
#: Width to height, by name.
ASPECT_RATIOS = {"9:16": (9, 16), "16:9": (16, 9), "1:1": (1, 1)}
#: Pixels of the short side, by name; the first is what is made if none is asked for.
QUALITIES = {"1080p": 1080, "720p": 720, "540p": 540}
#: What to do where a draft cannot be written.
MORE_SPACE = "free some space, or set TENXSOM_OUTPUT_DIR to a folder you can write to"
