// A store for node-oidc-provider in Redis, by the interface that its documentation describes. `Stored` keeps what its own
// example adapter for Redis keeps, by the same commands: `consume` notes that a code is consumed, whether or not somebody else has
// noted it meanwhile. `StoredOnce` differs in `consume` alone, which takes what can be consumed for one caller and refuses the others.
import Redis from 'ioredis';
import { errors } from 'oidc-provider';

const redis = process.env.REDIS_PORT
  && new Redis({ host: '127.0.0.1', port: Number(process.env.REDIS_PORT), keyPrefix: 'oidc:' });

const ofGrant = new Set(['AccessToken', 'AuthorizationCode', 'RefreshToken', 'DeviceCode', 'BackchannelAuthenticationRequest']);
const consumable = new Set([...ofGrant].filter((model) => model !== 'AccessToken'));

export class Stored {
  constructor(model) { this.model = model; }

  key(id) { return `${this.model}:${id}`; }

  async upsert(id, payload, expiresIn) {
    const key = this.key(id);
    const transaction = redis.multi();
    if (consumable.has(this.model)) transaction.hset(key, { payload: JSON.stringify(payload) });
    else transaction.set(key, JSON.stringify(payload));
    if (expiresIn) transaction.expire(key, expiresIn);
    if (ofGrant.has(this.model) && payload.grantId) {
      const members = `grant:${payload.grantId}`;
      transaction.rpush(members, key);
      if (expiresIn > await redis.ttl(members)) transaction.expire(members, expiresIn);
    }
    for (const index of ['userCode', 'uid']) {
      if (payload[index]) transaction.set(`${index}:${payload[index]}`, id, 'EX', expiresIn);
    }
    await transaction.exec();
  }

  async find(id) {
    if (!consumable.has(this.model)) {
      const payload = await redis.get(this.key(id));
      return payload ? JSON.parse(payload) : undefined;
    }
    const { payload, ...noted } = await redis.hgetall(this.key(id));
    return payload ? { ...noted, ...JSON.parse(payload) } : undefined;
  }

  async findByUid(uid) { return this.find(await redis.get(`uid:${uid}`)); }

  async findByUserCode(userCode) { return this.find(await redis.get(`userCode:${userCode}`)); }

  async destroy(id) { await redis.del(this.key(id)); }

  async revokeByGrantId(grantId) {
    const members = `grant:${grantId}`;
    await redis.del(members, ...await redis.lrange(members, 0, -1));
  }

  async consume(id) { await redis.hset(this.key(id), 'consumed', Math.floor(Date.now() / 1000)); }
}

export class StoredOnce extends Stored {
  async consume(id) {
    if (!await redis.hsetnx(this.key(id), 'consumed', Math.floor(Date.now() / 1000))) {
      throw new errors.InvalidGrant('already consumed');
    }
  }
}
