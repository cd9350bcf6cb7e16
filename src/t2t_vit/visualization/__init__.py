"""Pictures for people: how a run went, what is confused with what, what was predicted, where a model looked.

Every picture is a file, PNG, PDF or SVG by its suffix, that appears whole or not at all. Nothing is imported
here, so that curves can be drawn without torch: import `curves`, `confusion`, `predictions` or `attention`.
"""
