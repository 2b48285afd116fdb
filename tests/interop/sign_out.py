"""Signs in and out by way of Apache: RP-Initiated Logout 1.0 as mod_auth_openidc does it, and Form Post Response Mode.

sign_out.py ISSUER SITE FORM_POST_SITE NAME PASSWORD

`out.html` of SITE is where its client registered to come back to.
"""

import sys
import urllib.parse

import visit

ISSUER, SITE, FORM_POST_SITE, NAME, PASSWORD = sys.argv[1:]


def check(what, holds, page):
    if not holds:
        sys.exit(f"not so: {what}\n{page.status} {page.url}\n{page.body}")


def sign_in(browser, site=SITE):
    page, sent = browser.sign_in(f"{site}/index.html", NAME, PASSWORD)
    check("signed in at Apache", page.url == f"{site}/index.html" and page.headers["X-Remote-User"] == NAME, page)
    return sent


def sign_out(browser, place="out.html"):
    """What Apache's own way out leads to. It ends its session first, and sends the browser on with a hint."""
    page = browser.open(f"{SITE}/callback?" + urllib.parse.urlencode({"logout": f"{SITE}/{place}"}))
    asked = [urllib.parse.urlsplit(url) for url in browser.visited if url.startswith(f"{ISSUER}/oauth2/logout?")]
    check("Apache sends the browser to the end_session_endpoint", len(asked) == 1, page)
    members = dict(urllib.parse.parse_qsl(asked[0].query))
    check("it sends id_token_hint", members.get("id_token_hint", "").count(".") == 2, page)
    check("it sends post_logout_redirect_uri", members.get("post_logout_redirect_uri") == f"{SITE}/{place}", page)
    return page


def is_asked_at(browser, url):
    """Whether whoever goes there has to sign in at the issuer."""
    page = browser.open(url)
    return page.url.startswith(ISSUER) and "password" in page.form.names


def signed_in_anew():
    """A browser that is signed in at Apache by an earlier session than the one it has at the issuer."""
    browser = visit.Browser()
    sign_in(browser)
    for cookie in list(browser.jar):
        # Cookies know no ports; Apache's are its module's.
        if not cookie.name.startswith("mod_auth_openidc"):
            browser.jar.clear(cookie.domain, cookie.path, cookie.name)
    page = browser.open(f"{ISSUER}/account")
    check("nobody is signed in at the issuer", "password" in page.form.names, page)
    page = browser.send(page, ("username", NAME), ("password", PASSWORD))
    check("signed in at the issuer", page.url == f"{ISSUER}/account" and page.status == 200, page)
    return browser


def main():
    # The hint is of the session that the browser has: nobody is asked, and the browser comes back.
    browser = visit.Browser()
    sign_in(browser)
    page = sign_out(browser)
    check("back at the registered page", page.url == f"{SITE}/out.html" and "you have left" in page.body, page)
    check("signed out at Apache", is_asked_at(browser, f"{SITE}/index.html"), page)
    check("signed out at the issuer", is_asked_at(browser, f"{ISSUER}/account"), page)

    # The hint is of another session: another site could have sent it, so the person is asked, and may stay.
    browser = signed_in_anew()
    question = sign_out(browser)
    check("the person is asked", question.status == 200 and "Do you want to sign out?" in question.body, question)
    page = browser.send(question, ("decision", "stay"))
    check("the page says so", "You are still signed in" in page.body, page)
    check("signed in at the issuer as before", not is_asked_at(browser, f"{ISSUER}/account"), page)
    check("Apache lets them in again without asking for a password", "password" not in sign_in(browser), page)

    browser = signed_in_anew()
    page = browser.send(sign_out(browser), ("decision", "sign-out"))
    check("back at the registered page", page.url == f"{SITE}/out.html" and "you have left" in page.body, page)
    check("signed out at the issuer", is_asked_at(browser, f"{ISSUER}/account"), page)
    check("signed out at Apache", is_asked_at(browser, f"{SITE}/index.html"), page)

    # A place that Apache takes for its own and the client did not register.
    browser = visit.Browser()
    sign_in(browser)
    page = sign_out(browser, "index.html")
    check("it is refused, and not gone to", page.status == 400 and page.url.startswith(f"{ISSUER}/oauth2/logout?"), page)
    check("and nobody was signed out", not is_asked_at(browser, f"{ISSUER}/account"), page)
    # Without a place to go back to, and without a hint.
    page = browser.send(browser.open(f"{ISSUER}/oauth2/logout"), ("decision", "sign-out"))
    check("the last page says so", page.status == 200 and "You are signed out" in page.body, page)
    check("signed out at the issuer", is_asked_at(browser, f"{ISSUER}/account"), page)
    print("Apache with mod_auth_openidc: signed out there and here, with and without a question, and came back to the registered page")

    sent = sign_in(visit.Browser(), FORM_POST_SITE)
    check("the answer came by a form", sent[-1:] == ["form_post"], visit.Browser().open(f"{SITE}/out.html"))
    print("Apache with mod_auth_openidc: signed in by form_post")


main()
