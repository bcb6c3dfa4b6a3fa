"""The formats of drafts, for the service and the renderer. Cheap to import."""

NAME = "draft"
#: The longest draft in seconds.
MAX_DURATION = 60
#: Width and height of the ratio, by name.
ASPECT_RATIOS = {"9:16": (9, 16), "16:9": (16, 9), "1:1": (1, 1)}
#: Pixels of the short side, by name; the first is the default.
QUALITIES = {"1080p": 1080, "720p": 720, "540p": 540}
#: The areas for text; the first is the default, the second is for videos of one ratio only.
REELS, REELS_RATIO = "reels", "9:16"
SAFE_AREAS = ("standard", REELS)
#: The next step when a draft cannot be written.
MORE_SPACE = "free some space, or set TENXSOM_OUTPUT_DIR to a folder you can write to"
