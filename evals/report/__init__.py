"""Reports as one self-contained HTML file: no script, style, font or picture is fetched from anywhere."""
