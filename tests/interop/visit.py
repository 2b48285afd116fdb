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


class Page:
    """What a request led to, all redirects followed."""

    def __init__(self, answer):
        self.url, self.status, self.headers, self.body = answer.url, answer.status, answer.headers, answer.read().decode()
        self.form = Form()
        self.form.feed(self.body)


class Redirects(urllib.request.HTTPRedirectHandler):
    """Notes where the browser is sent."""

    def __init__(self):
        self.visited = []

    def redirect_request(self, request, *rest):
        new = super().redirect_request(request, *rest)
        self.visited.append(new.full_url)
        return new


class Errors(urllib.request.HTTPErrorProcessor):
    """A page that says no is a page."""

    def http_response(self, request, answer):
        return answer if answer.status in (400, 401, 403) else super().http_response(request, answer)


class Browser:
    def __init__(self):
        self.jar = http.cookiejar.CookieJar(http.cookiejar.DefaultCookiePolicy(secure_protocols=("https", "http")))
        self.redirects = Redirects()
        self.opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self.jar), self.redirects, Errors)
        self.opener.addheaders = [("Accept", "text/html")]

    @property
    def visited(self):
        return self.redirects.visited

    def open(self, url, members=None):
        """The page at the end of all redirects; `visited` has those of this request."""
        self.visited.clear()
        data = None if members is None else urllib.parse.urlencode(members).encode()
        return Page(self.opener.open(url, data, timeout=60))

    def send(self, page, *members):
        """Sends the page's form, with what a person puts in it."""
        return self.open(urllib.parse.urljoin(page.url, page.form.action), page.form.fields + list(members))

    def sign_in(self, url, name, password):
        """Does what is asked of a person until there is no form any more: the last page, and the forms that were sent."""
        page, sent = self.open(url), []
        for _ in range(5):
            names = page.form.names
            if page.form.action is None:
                return page, sent
            if "password" in names:
                sent.append("password")
                page = self.send(page, ("username", name), ("password", password))
            elif "decision" in names:
                sent.append("decision")
                page = self.send(page, ("decision", "allow"))
            elif "code" in names:
                # OAuth 2.0 Form Post Response Mode: a browser with scripts sends it by itself.
                sent.append("form_post")
                page = self.send(page)
            else:
                sys.exit(f"a form that nobody told us of:\n{page.body}")
        sys.exit("there are too many pages")


def main(url, name, password, cookies=None):
    browser = Browser()
    page, _ = browser.sign_in(url, name, password)
    print(page.headers, page.body, sep="")
    if cookies:
        with open(cookies, "w") as file:
            file.write("; ".join(f"{cookie.name}={cookie.value}" for cookie in browser.jar))


if __name__ == "__main__":
    main(*sys.argv[1:])
