"""A run or a dialogue as one HTML page, and what all pages of this project share."""
