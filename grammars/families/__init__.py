"""The crash families that come with the grammar; each file holds one or a few that belong together."""
