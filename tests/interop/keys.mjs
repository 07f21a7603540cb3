// Keys of the tests and what is signed with them: Node.js's own Ed25519, by §2 and §3 of protocol/SPEC.md.

import { createPrivateKey, createPublicKey, sign } from 'node:crypto'
import { encode } from '../vectors/protocol.mjs'

const PKCS8 = Buffer.from('302e020100300506032b657004220420', 'hex') // RFC 8410, before the 32 bytes of the seed

export function keyOf (seed) {
  const secret = createPrivateKey({ key: Buffer.concat([PKCS8, seed]), format: 'der', type: 'pkcs8' })
  const { x } = createPublicKey(secret).export({ format: 'jwk' })
  return { seed, secret, public: Buffer.from(x, 'base64url') }
}

/** The bytes of a signed array of these items. */
export function signArray (key, domain, items) {
  const signature = sign(null, Buffer.concat([domain, encode(items)]), key.secret)
  return encode([...items, signature])
}

/** A map of a plain object, and of those within it. */
export const mapOf = (value) => value !== null && typeof value === 'object' && value.constructor === Object
  ? new Map(Object.entries(value).map(([name, item]) => [name, mapOf(item)]))
  : value
