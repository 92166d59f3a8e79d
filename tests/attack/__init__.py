"""What attackers try: identities, browsers, proxies, broken frames, floods."""
