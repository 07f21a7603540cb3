// Replays all vectors in another language: `node tests/vectors/replay.mjs`. Prints the number of cases of each list, as
// JSON, and fails with the names of those where the two implementations differ.

import { readFileSync } from "node:fs";
import { createHash } from "node:crypto";
import {
  Refused, decode, encode, openEntry, openNote, openProof, peerId, proveFork, rootOf, verify, verifyConsistency,
  verifyInclusion,
} from "./protocol.mjs";
import { judgeAdverts, openAdvert, updated } from "./adverts.mjs";
import { solarBound } from "./sun.mjs";

const load = (name) => JSON.parse(readFileSync(new URL(`${name}.json`, import.meta.url), "utf8"));
const hex = (text) => Buffer.from(text, "hex");
const counts = {};
const differing = [];

class Differs extends Error {}

function expect(condition, what) {
  if (!condition) throw new Differs(what);
}

function same(found, expected) {
  expect(JSON.stringify(found) === JSON.stringify(expected), `${JSON.stringify(found)} is not ${JSON.stringify(expected)}`);
}

function refused(act) {
  try {
    act();
  } catch (error) {
    if (error instanceof Refused) return error;
    throw error;
  }
  throw new Differs("it was accepted");
}

function replay(file, list, cases, act) {
  counts[`${file} ${list}`] = cases.length;
  for (const each of cases) {
    try {
      act(each);
    } catch (error) {
      differing.push(`${file} ${list}: ${each.name}: ${error instanceof Differs ? "" : error.constructor.name} ${error.message}`);
    }
  }
}

/** Every list of a file, each with what must hold of its cases; a list that nobody knows is an error. */
function replayFile(file, acts) {
  const lists = load(file);
  same(Object.keys(lists).sort(), Object.keys(acts(lists)).sort());
  for (const [list, act] of Object.entries(acts(lists))) replay(file, list, lists[list], act);
}

const read = (written) => {
  if (Array.isArray(written)) return written.map(read);
  if (written === null || typeof written !== "object") return written;
  return "bytes" in written ? hex(written.bytes) : new Map(written.map.map(([key, value]) => [key, read(value)]));
};
const written = (value) => {
  if (Buffer.isBuffer(value)) return { bytes: value.toString("hex") };
  if (value instanceof Map) return { map: [...value].map(([key, item]) => [key, written(item)]) };
  return Array.isArray(value) ? value.map(written) : value;
};
const isNetwork = ({ genesis, id }) => {
  expect(encode(decode(hex(genesis))).equals(hex(genesis)), "genesis is not canonical");
  same(createHash("sha256").update(hex(genesis)).digest("hex"), id);
};

replayFile("encodings", () => ({
  accepted: ({ value, raw }) => {
    same(written(decode(hex(raw))), value);
    same(encode(read(value)).toString("hex"), raw);
  },
  refused: ({ raw, offset }) => same(refused(() => decode(hex(raw))).offset, offset),
}));

const isVerified = ({ public: key, message, signature, accepted }) =>
  same(verify(hex(key), hex(message), hex(signature)), accepted);
replayFile("sun", () => ({
  bounds: ({ name, bound_j, is_night, ...claim }) => same(solarBound(claim), { bound_j, is_night }),
}));
replayFile("signatures", () => ({ speccheck: isVerified, ordinary: isVerified }));

replayFile("entries", ({ networks: [{ id: network }] }) => ({
  networks: isNetwork,
  accepted: (expected) => {
    const entry = openEntry(hex(expected.raw), hex(network));
    for (const name of ["id", "author", "prev"]) same(entry[name].toString("hex"), expected[name]);
    same(peerId(entry.author), expected.peer_id);
    same([entry.kind, entry.seq, entry.timeMs], [expected.kind, expected.seq, expected.time_ms]);
    same(entry.refs.map((ref) => ref.toString("hex")), expected.refs);
  },
  refused: ({ raw, check }) => same(refused(() => openEntry(hex(raw), hex(network))).check, check),
}));

replayFile("adverts", ({ networks: [{ id }], regions }) => {
  const regionOf = (zone) => regions.find(({ countries }) => countries.includes(zone.split("-")[0]))?.name ?? "other";
  const judge = ({ data, region, now_ms }) => judgeAdverts(hex(data), hex(id), region, now_ms, regionOf);
  return {
    networks: isNetwork,
    regions: ({ name, countries }) => countries.forEach((country) => same(regionOf(`${country}-X`), name)),
    accepted: (expected) => {
      const items = judge(expected).map(({ author, kind, body }) => ({ author: author.toString("hex"), kind, number: body.get("number") }));
      same(items, expected.items);
    },
    refused: (expected) => {
      const { check, verdict } = refused(() => judge(expected));
      same([check, verdict], [expected.check, expected.verdict]);
    },
    updates: ({ base, update, advert }) => {
      const found = updated(openAdvert(hex(base), hex(id)).body, openAdvert(hex(update), hex(id)).body);
      const plain = (value) => (Array.isArray(value) ? value.map(plain) : Buffer.isBuffer(value) ? value.toString("hex") : value);
      if (advert === null) same(found, null);
      else for (const [name, value] of Object.entries(advert)) same(plain(found.get(name)), value);
    },
  };
});

const includes = ({ root, size, index, leaf, proof }) => verifyInclusion(hex(root), size, index, hex(leaf), proof.map(hex));
const continues = ({ old_size, old_root, size, root, proof }) =>
  verifyConsistency(old_size, hex(old_root), size, hex(root), proof.map(hex));
replayFile("merkle", () => ({
  roots: ({ leaves, root }) => same(rootOf(leaves.map(hex)).toString("hex"), root),
  inclusion: includes,
  consistency: continues,
  refused_inclusion: (spoilt) => void refused(() => includes(spoilt)),
  refused_consistency: (spoilt) => void refused(() => continues(spoilt)),
}));

replayFile("checkpoints", ({ networks: [{ id, witnesses }] }) => {
  const note = (text) => openNote(text, hex(id), witnesses.map(hex));
  const proof = (text) => openProof(text, hex(id), witnesses.map(hex));
  return {
    networks: (network) => {
      isNetwork(network);
      same(decode(hex(network.genesis)).get("witnesses").map((key) => key.toString("hex")), network.witnesses);
    },
    accepted: (expected) => {
      const found = note(expected.note);
      same([found.author.toString("hex"), found.size, found.root.toString("hex")], [expected.author, expected.size, expected.root]);
      same([Object.entries(found.cosignedAtS).sort(), found.final], [Object.entries(expected.cosigned_at_s).sort(), expected.final]);
    },
    refused: (expected) => void refused(() => note(expected.note)),
    proofs: (expected) => {
      const found = proof(expected.proof);
      same([found.entry.id.toString("hex"), found.size, found.final], [expected.entry, expected.size, expected.final]);
    },
    refused_proofs: (expected) => void refused(() => proof(expected.proof)),
  };
});

/** The entries of a file by their ids. */
function openAll({ entries, networks }) {
  const opened = new Map();
  for (const { name, raw } of entries) {
    const network = networks.find(({ id }) => raw.includes(id));
    opened.set(name, openEntry(hex(raw), hex(network.id)));
  }
  return opened;
}

/** Whether entries in this order continue their feeds; returns the heads by author. */
function expectChains(entries) {
  const heads = new Map();
  for (const { author, seq, prev, id } of entries) {
    const head = heads.get(author.toString("hex")) ?? { seq: -1, id: Buffer.alloc(32) };
    same([seq, prev.toString("hex")], [head.seq + 1, head.id.toString("hex")]);
    heads.set(author.toString("hex"), { seq, id });
  }
  return heads;
}

/** Whether each signature that stands in a body is its key's: of auditors, and of a meter. */
function innerSignatures({ network, author, kind, body }) {
  const signed = (domain, items) => Buffer.concat([Buffer.from(`${domain}\0`), encode(items)]);
  const rest = new Map([...body].filter(([field]) => field !== "countersignatures"));
  const statement = signed("heliotrope-countersignature/v1", [network, author, kind, rest]);
  const found = (body.get("countersignatures") ?? []).map((each) => verify(each.get("auditor"), statement, each.get("signature")));
  const meter = body.get("meter");
  for (const end of meter ? ["start", "end"] : []) {
    const counter = [network, author, body.get("device_id"), body.get(`${end}_ms`), body.get(`meter_${end}_j`)];
    found.push(verify(meter.get("key"), signed("heliotrope-meter/v1", counter), meter.get(`${end}_signature`)));
  }
  return found;
}

const COUNTERSIGNED = { attestation: 8, device: 4 }; // the check of countersignatures

// The rules of the transitions are not written a second time. But all that a case consists of must hold together: its
// entries, their feeds, and what they and the state after them refer to.
replayFile("transitions", (lists) => {
  const opened = openAll(lists);
  return {
    networks: isNetwork,
    entries: ({ name }) => same(opened.get(name).id.toString("hex"), name),
    cases: ({ kind, pre, entry, post, check }) => {
      same(opened.get(entry).kind, kind);
      expect((post === undefined) !== (check === undefined), "either a state follows or a check is broken");
      if (kind in COUNTERSIGNED && (post !== undefined || check === COUNTERSIGNED[kind]))
        expect(innerSignatures(opened.get(entry)).every(Boolean) === (post !== undefined), "signatures within the body");
      const judged = [...pre, entry].map((id) => opened.get(id));
      const heads = expectChains(judged);
      const known = new Set();
      for (const { id, refs } of judged) {
        expect(refs.every((ref) => known.has(ref.toString("hex"))), "a reference to what did not come before");
        known.add(id.toString("hex"));
      }
      for (const id of JSON.stringify(post ?? {}).match(/[0-9a-f]{64}/g) ?? [])
        expect(known.has(id) || [...known].some((name) => encode(opened.get(name).body).includes(hex(id))) || heads.has(id), `${id} comes from nowhere`);
    },
  };
});

// What forks void, who waits and what is kept aside follows from the feeds, the proofs and what is final.
replayFile("forks", (lists) => {
  const opened = openAll(lists);
  const name = (id) => id.toString("hex");
  const others = (post, ids) => Object.entries(post).filter(([fact]) => !ids.some((id) => fact === `void ${id}`));
  return {
    networks: isNetwork,
    entries: (entry) => same(name(opened.get(entry.name).id), entry.name),
    pairs: ({ a, b, fork, seq, exact }) => {
      const proof = proveFork(opened.get(a), opened.get(b));
      same(proof, fork ? { seq, exact } : null);
    },
    cases: ({ feeds, proofs, aside, final, frozen_from, waiting, post, same_as }) => {
      const stored = feeds.map((id) => opened.get(id));
      expectChains(stored);
      const frozen = new Map();
      for (const [a, b] of proofs) {
        const proof = proveFork(opened.get(a), opened.get(b));
        expect(proof !== null, "no proof");
        const author = name(opened.get(a).author);
        frozen.set(author, Math.min(proof.seq, frozen.get(author) ?? Infinity));
      }
      for (const [author, seq] of frozen) frozen.set(author, Math.max(seq, final[author] ?? 0));
      same([...frozen].sort(), Object.entries(frozen_from).sort());
      const isFrozen = ({ author, seq }) => seq >= (frozen.get(name(author)) ?? Infinity);
      for (const entry of aside.map((id) => opened.get(id))) {
        expect(isFrozen(entry) && !feeds.includes(name(entry.id)), "kept aside, and not of a frozen branch");
        expect(stored.some(({ refs }) => refs.some((ref) => ref.equals(entry.id))), "kept aside, and nobody refers to it");
      }

      const judged = new Set(aside);
      const isNext = ({ author, seq }) => stored.every((e) => !e.author.equals(author) || e.seq >= seq || judged.has(name(e.id)));
      const isReady = (e) => !judged.has(name(e.id)) && isNext(e) && (isFrozen(e) || e.refs.every((ref) => judged.has(name(ref))));
      for (let next = stored.find(isReady); next !== undefined; next = stored.find(isReady)) judged.add(name(next.id));
      same(feeds.filter((id) => !judged.has(id)).sort(), waiting);

      const voided = feeds.filter((id) => isFrozen(opened.get(id)));
      same(Object.keys(post).filter((fact) => post[fact] === 0 && fact.startsWith("void ")).sort(), voided.map((id) => `void ${id}`).sort());
      for (const id of voided)
        expect(others(post, [id]).every(([fact]) => !fact.includes(id)), `${id} is void and has an effect`);
      const other = lists.cases.find((each) => each.name === same_as);
      if (other !== undefined) {
        const branches = [...voided, ...other.feeds.filter((id) => isFrozen(opened.get(id)))];
        same(others(post, branches), others(other.post, branches));
      }
    },
  };
});

if (differing.length > 0) {
  console.error(differing.join("\n"));
  process.exit(1);
}
console.log(JSON.stringify(counts));
