"""Engines: what turns prompts into token distributions, and the client that talks to them."""
