"""The page to paint on: a server with a JSON API, and the one HTML file that uses it."""
