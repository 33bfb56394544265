"""Models: from the text a person gives (`hush-tiny`, a path, `hf:`, a URL) to verified files that an engine can load."""
