//! Runs the flows of Signet as a relying party that was written from the texts of OAuth and OpenID Connect:
//! the crates `openidconnect` and `oauth2` on one side, a browser reduced to its cookies and forms on the other.
//!
//! Everything comes from the environment: `ISSUER`, `CLIENT_ID`, `CLIENT_SECRET`, `PUBLIC_CLIENT_ID`,
//! `REDIRECT_URI`, `SIGN_IN_NAME`, `PASSWORD`. Ends with an error at the first difference.

mod browser;

use std::env::var;
use std::error::Error;

use browser::Browser;
use openidconnect::core::{CoreClient, CoreProviderMetadata, CoreResponseType, CoreUserInfoClaims};
use openidconnect::{
    AccessTokenHash, AuthenticationFlow, AuthorizationCode, ClientId, ClientSecret, CsrfToken, IssuerUrl,
    Nonce, OAuth2TokenResponse as _, PkceCodeChallenge, RedirectUrl, RefreshToken, Scope, TokenResponse as _,
};
use reqwest::blocking::Client;

type Outcome = Result<(), Box<dyn Error>>;

fn main() -> Outcome {
    let http = reqwest::blocking::ClientBuilder::new().redirect(reqwest::redirect::Policy::none()).build()?;
    client_credentials(&http)?;
    code_flow(&http, var("CLIENT_ID")?, Some(ClientSecret::new(var("CLIENT_SECRET")?)))?;
    code_flow(&http, var("PUBLIC_CLIENT_ID")?, None)?;
    refused(&http)
}

/// The crate `oauth2` alone: a token on the client's own behalf, looked at and revoked.
fn client_credentials(http: &Client) -> Outcome {
    use oauth2::basic::BasicClient;
    use oauth2::{
        ClientId, ClientSecret, IntrospectionUrl, Scope, TokenIntrospectionResponse as _, TokenResponse as _,
        TokenUrl,
    };
    let issuer = var("ISSUER")?;
    let at = |path: &str| format!("{issuer}{path}");
    let client = BasicClient::new(ClientId::new(var("CLIENT_ID")?))
        .set_client_secret(ClientSecret::new(var("CLIENT_SECRET")?))
        .set_token_uri(TokenUrl::new(at("/oauth2/token"))?)
        .set_introspection_url(IntrospectionUrl::new(at("/oauth2/introspect"))?);
    let answer = client.exchange_client_credentials().add_scope(Scope::new("read".into())).request(http)?;
    let token = answer.access_token();
    let seen = client.introspect(token).request(http)?;
    expect(seen.active(), "a fresh token is active")?;
    expect(
        seen.scopes().is_some_and(|scopes| scopes.iter().any(|scope| scope.as_str() == "read")),
        "with its scope",
    )?;
    // The crate revokes over https only, which a loopback issuer is not.
    let revoked = http
        .post(at("/oauth2/revoke"))
        .basic_auth(var("CLIENT_ID")?, Some(var("CLIENT_SECRET")?))
        .form(&[("token", token.secret())])
        .send()?;
    expect(revoked.status() == 200, "revocation answers 200")?;
    expect(!client.introspect(token).request(http)?.active(), "a revoked token is not active")?;
    println!("client credentials, introspection, revocation: as the crate oauth2 expects");
    Ok(())
}

/// Discovery, PKCE, nonce, ID token, userinfo, refresh.
fn code_flow(http: &Client, client_id: String, secret: Option<ClientSecret>) -> Outcome {
    let kind = if secret.is_some() { "confidential" } else { "public" };
    let metadata = CoreProviderMetadata::discover(&IssuerUrl::new(var("ISSUER")?)?, http)?;
    let client = CoreClient::from_provider_metadata(metadata, ClientId::new(client_id), secret)
        .set_redirect_uri(RedirectUrl::new(var("REDIRECT_URI")?)?);
    let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
    let (url, state, nonce) = client
        .authorize_url(
            AuthenticationFlow::<CoreResponseType>::AuthorizationCode,
            CsrfToken::new_random,
            Nonce::new_random,
        )
        .add_scopes(["profile", "email", "offline_access"].map(|scope| Scope::new(scope.into())))
        .set_pkce_challenge(challenge)
        .url();
    let answer = Browser::new()?.authorize(url, &var("SIGN_IN_NAME")?, &var("PASSWORD")?)?;
    expect(answer.get("state") == Some(state.secret()), "state comes back")?;
    expect(answer.get("iss").is_some_and(|iss| Ok(iss.clone()) == var("ISSUER")), "iss names the issuer")?;
    let code = answer.get("code").ok_or("there is no code")?;
    let tokens = client
        .exchange_code(AuthorizationCode::new(code.clone()))?
        .set_pkce_verifier(verifier)
        .request(http)?;

    let verifier = client.id_token_verifier();
    let id_token = tokens.id_token().ok_or("there is no ID token")?;
    let claims = id_token.claims(&verifier, &nonce)?;
    let expected = claims.access_token_hash().ok_or("there is no at_hash")?;
    let actual = AccessTokenHash::from_token(
        tokens.access_token(),
        id_token.signing_alg()?,
        id_token.signing_key(&verifier)?,
    )?;
    expect(actual == *expected, "at_hash is of the access token")?;
    let about: CoreUserInfoClaims =
        client.user_info(tokens.access_token().clone(), Some(claims.subject().clone()))?.request(http)?;
    expect(
        about.email().is_some_and(|email| Ok(email.to_string()) == var("SIGN_IN_NAME")),
        "userinfo knows the e-mail",
    )?;

    let refresh = tokens.refresh_token().ok_or("there is no refresh token")?;
    let next = client.exchange_refresh_token(refresh)?.request(http)?;
    expect(next.access_token().secret() != tokens.access_token().secret(), "a refresh gives a new token")?;
    let child: &RefreshToken = next.refresh_token().ok_or("a refresh gives a new refresh token")?;
    expect(child.secret() != refresh.secret(), "which is not the old one")?;
    println!(
        "code flow with PKCE, ID token, userinfo, refresh ({kind} client): as the crate openidconnect expects"
    );
    Ok(())
}

/// What must fail: a wrong verifier.
fn refused(http: &Client) -> Outcome {
    let metadata = CoreProviderMetadata::discover(&IssuerUrl::new(var("ISSUER")?)?, http)?;
    let client = CoreClient::from_provider_metadata(metadata, ClientId::new(var("PUBLIC_CLIENT_ID")?), None)
        .set_redirect_uri(RedirectUrl::new(var("REDIRECT_URI")?)?);
    let (challenge, _) = PkceCodeChallenge::new_random_sha256();
    let (_, foreign) = PkceCodeChallenge::new_random_sha256();
    let (url, ..) = client
        .authorize_url(
            AuthenticationFlow::<CoreResponseType>::AuthorizationCode,
            CsrfToken::new_random,
            Nonce::new_random,
        )
        .set_pkce_challenge(challenge)
        .url();
    let answer = Browser::new()?.authorize(url, &var("SIGN_IN_NAME")?, &var("PASSWORD")?)?;
    let code = answer.get("code").ok_or("there is no code")?;
    let outcome =
        client.exchange_code(AuthorizationCode::new(code.clone()))?.set_pkce_verifier(foreign).request(http);
    expect(
        matches!(&outcome, Err(openidconnect::RequestTokenError::ServerResponse(why))
            if why.error().as_ref() == "invalid_grant"),
        "a foreign verifier is refused as invalid_grant",
    )?;
    println!("a foreign code verifier: refused");
    Ok(())
}

fn expect(holds: bool, what: &str) -> Outcome {
    if holds { Ok(()) } else { Err(format!("not so: {what}").into()) }
}
