"""The tab LinkedIn Matched Audience: an HTML web resource, its style and its scripts, bundled into four files.

`src/` holds what people write, `dist/` what Dataverse gets; `build.built()` makes the second from the first.
"""
