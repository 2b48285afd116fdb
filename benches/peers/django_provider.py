"""django-oauth-toolkit as a service over PostgreSQL, by gunicorn: `prepare` makes the tables, a person and the public client `race`,
`gunicorn django_provider:application` serves. What is not said here is as both projects have it by default."""

import os

from django.conf import settings
from django.core.management import call_command
from django.core.wsgi import get_wsgi_application

settings.configure(
    DEBUG=False,
    SECRET_KEY=os.environ["COOKIE_KEY"],
    ALLOWED_HOSTS=["127.0.0.1"],
    ROOT_URLCONF="django_provider",
    INSTALLED_APPS=[
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.sessions",
        "oauth2_provider",
    ],
    MIDDLEWARE=[
        "django.middleware.security.SecurityMiddleware",
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
    ],
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "HOST": "127.0.0.1",
            "PORT": os.environ["DATABASE_PORT"],
            "USER": "signet",
            "NAME": "signet",
            "CONN_MAX_AGE": 60,
        }
    },
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    USE_TZ=True,
    LOGIN_URL="/login",
    LOGGING={
        "version": 1,
        "disable_existing_loggers": False,
        "handlers": {"console": {"class": "logging.StreamHandler"}},
        "root": {"handlers": ["console"], "level": "ERROR"},
    },
    OAUTH2_PROVIDER={
        "OIDC_ENABLED": True,
        "OIDC_RSA_PRIVATE_KEY": open(os.environ["RSA_KEY"]).read(),
        "SCOPES": {"openid": "who you are"},
    },
)
application = get_wsgi_application()

from django.contrib.auth import get_user_model, login  # noqa: E402
from django.http import HttpResponseRedirect  # noqa: E402
from django.urls import include, path  # noqa: E402


def sign_in(request):
    """Whoever comes is signed in as somebody."""
    login(request, get_user_model().objects.get(username="somebody"))
    return HttpResponseRedirect(request.GET["next"])


urlpatterns = [path("login", sign_in), path("o/", include("oauth2_provider.urls", namespace="oauth2_provider"))]


def prepare():
    call_command("migrate", verbosity=0)
    get_user_model().objects.create_user("somebody")
    from oauth2_provider.models import Application

    Application.objects.create(
        name="Race",
        client_id="race",
        client_type=Application.CLIENT_PUBLIC,
        authorization_grant_type=Application.GRANT_AUTHORIZATION_CODE,
        redirect_uris=os.environ["REDIRECT_URI"],
        skip_authorization=True,
        algorithm=Application.RS256_ALGORITHM,
    )

