// The service that is visited: people and clients for the visits, and a client of our own to come back to.
import { createHash } from 'node:crypto';
import { createServer } from 'node:http';
import assert from 'node:assert/strict';

export const PASSWORD = 'a sentence that nobody guesses';
export const OUT_OF_BAND = 'urn:ietf:wg:oauth:2.0:oob';
// Of the settings' demonstration resource.
const RESOURCE = 'http://127.0.0.1:9000';
const LOGO = `<svg xmlns="http://www.w3.org/2000/svg" width="120" height="60"><rect width="120" height="60" rx="12" fill="#0a7d5a"/>
  <circle cx="60" cy="30" r="20" fill="#ffd24a"/></svg>`;
const VERIFIER = 'dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk';
const CHALLENGE = createHash('sha256').update(VERIFIER).digest('base64url');

export class Service {
  static async at(issuer, token) {
    const service = new Service();
    Object.assign(service, { issuer, token, logoRequests: [] });
    // The client: shows what it was sent.
    service.callback = createServer((request, response) => {
      // It has no icon, and says so without a fault.
      if (request.url === '/favicon.ico') return response.writeHead(204).end();
      if (request.url === '/logo.svg') {
        service.logoRequests.push(request.headers);
        return response.setHeader('Content-Type', 'image/svg+xml').end(LOGO);
      }
      if (request.url === '/missing.svg') return response.writeHead(404).end();
      response.setHeader('Content-Type', 'text/plain');
      return response.end(request.url);
    }).listen(0, '127.0.0.1');
    await new Promise((ready) => service.callback.on('listening', ready));
    service.redirectUri = `http://127.0.0.1:${service.callback.address().port}/callback`;
    service.shop = await service.client('Shop of wonders', 'http://127.0.0.1/callback');
    // Its logo is of another origin than the service, as most are.
    const logo_uri = new URL('/logo.svg', service.redirectUri).href;
    service.gallery = await service.client('Gallery of wonders', 'http://127.0.0.1/callback', { logo_uri });
    service.terminal = await service.client('Terminal of wonders', OUT_OF_BAND);
    return service;
  }

  close() {
    this.callback.close();
  }

  async admin(method, path, body) {
    const response = await fetch(`${this.issuer}${path}`, {
      method,
      headers: { Authorization: `Bearer ${this.token}`, 'Content-Type': 'application/json' },
      body: body && JSON.stringify(body),
    });
    const text = await response.text();
    assert(response.ok, `${method} ${path}: ${response.status} ${text}`);
    return JSON.parse(text);
  }

  async client(name, redirectUri, more = {}) {
    const registered = await this.admin('POST', '/admin/clients', {
      client_name: name, scope: 'openid profile email read write', resources: [RESOURCE],
      grant_types: ['authorization_code', 'refresh_token'], redirect_uris: [redirectUri], ...more,
    });
    return registered.client_id;
  }

  // Somebody with an account; answers with its identifier.
  async person(name, email) {
    return (await this.admin('POST', '/admin/users', { name, email, password: PASSWORD })).id;
  }

  authorize(parameters) {
    const query = new URLSearchParams({
      response_type: 'code', client_id: this.shop, redirect_uri: this.redirectUri, scope: 'openid profile email read',
      state: 's1', code_challenge: CHALLENGE, code_challenge_method: 'S256', ...parameters,
    });
    return `${this.issuer}/oauth2/authorize?${query}`;
  }

  // What the client was answered.
  answer(url) {
    assert(url.startsWith(`${this.redirectUri}?`), `${url} is not where the client waits`);
    const parameters = new URL(url).searchParams;
    assert.equal(parameters.get('state'), 's1');
    assert.equal(parameters.get('iss'), this.issuer);
    return parameters;
  }
}
