"""The pages at `/` in a real browser, against real gateways and sweepers."""
