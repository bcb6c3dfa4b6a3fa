"""Who may send a paid create, and when: the contract (`base`) that `generate_video` asks."""
