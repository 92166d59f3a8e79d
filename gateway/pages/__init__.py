"""The pages at `/` for people who look after machines: files as they are, built on the API."""
