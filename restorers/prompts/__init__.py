"""The prompt language: one `RestorationPrompt`, rendered to and parsed from each restorer's own words."""
