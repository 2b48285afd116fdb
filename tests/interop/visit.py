"""A browser without scripts: opens URL, signs in, allows what is asked, and prints the last answer's headers and body.

visit.py URL NAME PASSWORD [COOKIES]

The cookies are left in the file COOKIES, as a header has them.
"""

import html.parser
import http.cookiejar
import sys
import urllib.parse
import urllib.request


class Form(html.parser.HTMLParser):
    """The first form of a page that is sent by POST."""

    def __init__(self):
        super().__init__()
        self.action, self.fields, self.names, self.inside = None, [], set(), False

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag == "form" and self.action is None and attributes.get("method", "").lower() == "post":
            self.action, self.inside = attributes.get("action") or "", True
        elif self.inside and tag in ("input", "button"):
            self.names.add(attributes.get("name"))
            if attributes.get("type") == "hidden":
                self.fields.append((attributes["name"], attributes.get("value", "")))

    def handle_endtag(self, tag):
        if tag == "form":
            self.inside = False


def main(url, name, password, cookies=None):
    jar = http.cookiejar.CookieJar(http.cookiejar.DefaultCookiePolicy(secure_protocols=("https", "http")))
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(jar))
    browser.addheaders = [("Accept", "text/html")]
    answer = browser.open(url, timeout=10)
    for _ in range(5):
        body = answer.read().decode()
        form = Form()
        form.feed(body)
        if form.action is None:
            print(answer.headers, body, sep="")
            if cookies:
                with open(cookies, "w") as file:
                    file.write("; ".join(f"{cookie.name}={cookie.value}" for cookie in jar))
            return
        fields = form.fields
        if "password" in form.names:
            fields += [("username", name), ("password", password)]
        elif "decision" in form.names:
            fields += [("decision", "allow")]
        else:
            sys.exit(f"a form that nobody told us of:\n{body}")
        data = urllib.parse.urlencode(fields).encode()
        answer = browser.open(urllib.parse.urljoin(answer.url, form.action), data, timeout=10)
    sys.exit("there are too many pages")


main(*sys.argv[1:])
