"""Names that are used by a framework and by no line of ours; vulture reads this file as uses."""
