"""PixVerse through UseAPI.net (v2): the paid service that is bound to an account of the user's own."""
