"""Somebody who signs in, and what the client that they use asks for a code with."""

import base64
import hashlib
import urllib.parse

REDIRECT_URI = "http://127.0.0.1:1/callback"
NAME, PASSWORD = "ada@example.com", "correct horse battery staple"
VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).decode().rstrip("=")
AUTHORIZE = "/oauth2/authorize?" + urllib.parse.urlencode({
    "response_type": "code", "scope": "read offline_access", "redirect_uri": REDIRECT_URI, "code_challenge": CHALLENGE,
    "code_challenge_method": "S256"})
