// Random: the numbers that Python's `random.Random(text)` draws, so that a seed asks the same questions on the
// page as `lookbehind quiz --seed` asks in the terminal. Mersenne Twister, seeded by a text and its SHA-512.

const N = 624;
const M = 397;
const WORD = (1n << 64n) - 1n;

export class Random {
  /** @param {string} text the seed */
  constructor(text) {
    this.state = new Uint32Array(N);
    this.at = N;
    const bytes = new TextEncoder().encode(text);
    this.#seed(words(new Uint8Array([...bytes, ...sha512(bytes)])));
  }

  /** @param {Uint32Array} key least significant word first */
  #seed(key) {
    const state = this.state;
    state[0] = 19650218;
    for (let i = 1; i < N; i++) state[i] = Math.imul(1812433253, state[i - 1] ^ (state[i - 1] >>> 30)) + i;
    let i = 1;
    const step = () => {
      i += 1;
      if (i === N) {
        state[0] = state[N - 1];
        i = 1;
      }
    };
    for (let k = 0; k < Math.max(N, key.length); k++) {
      const j = k % key.length;
      state[i] = (state[i] ^ Math.imul(state[i - 1] ^ (state[i - 1] >>> 30), 1664525)) + key[j] + j;
      step();
    }
    for (let k = 0; k < N - 1; k++) {
      state[i] = (state[i] ^ Math.imul(state[i - 1] ^ (state[i - 1] >>> 30), 1566083941)) - i;
      step();
    }
    state[0] = 0x80000000;
  }

  /** 32 random bits. */
  #word() {
    const state = this.state;
    if (this.at === N) {
      for (let k = 0; k < N; k++) {
        const y = (state[k] & 0x80000000) | (state[(k + 1) % N] & 0x7fffffff);
        state[k] = state[(k + M) % N] ^ (y >>> 1) ^ (y & 1 ? 0x9908b0df : 0);
      }
      this.at = 0;
    }
    let y = state[this.at++];
    y ^= y >>> 11;
    y ^= (y << 7) & 0x9d2c5680;
    y ^= (y << 15) & 0xefc60000;
    return (y ^ (y >>> 18)) >>> 0;
  }

  /** A number of [0, 1). */
  random() {
    const high = this.#word() >>> 5;
    return (high * 67108864 + (this.#word() >>> 6)) / 9007199254740992;
  }

  /** A whole number of [0, n), n below 2^31. @param {number} n */
  below(n) {
    const bits = 32 - Math.clz32(n);
    let drawn = n;
    while (drawn >= n) drawn = this.#word() >>> (32 - bits);
    return drawn;
  }

  /** A whole number from `low` to `high`, both included. @param {number} low @param {number} high */
  whole(low, high) {
    return low + this.below(high - low + 1);
  }

  /** @template T @param {readonly T[]} items @returns {T} */
  choice(items) {
    return items[this.below(items.length)];
  }

  /**
   * `k` of a few items, in random order. (Python draws otherwise where k is small beside a long list.)
   * @template T
   * @param {readonly T[]} items
   * @param {number} k
   * @returns {T[]}
   */
  sample(items, k) {
    const pool = [...items];
    return Array.from({ length: k }, (_, i) => {
      const j = this.below(pool.length - i);
      const found = pool[j];
      pool[j] = pool[pool.length - i - 1];
      return found;
    });
  }

  /** @template T @param {T[]} items shuffled in place */
  shuffle(items) {
    for (let i = items.length - 1; i > 0; i--) {
      const j = this.below(i + 1);
      [items[i], items[j]] = [items[j], items[i]];
    }
  }
}

/** The number that bytes write (most significant first), as 32-bit words, least significant first.
 * @param {Uint8Array} bytes */
function words(bytes) {
  const found = new Uint32Array(Math.ceil(bytes.length / 4));
  for (let at = 0; at < bytes.length; at++) found[at >> 2] |= bytes[bytes.length - 1 - at] << (8 * (at & 3));
  let length = found.length;
  while (length > 1 && !found[length - 1]) length -= 1;
  return found.subarray(0, length);
}

/** The first 64 bits of the fractional part of a root of each of the first primes.
 * @param {number} count @param {bigint} root 2n or 3n */
function fractions(count, root) {
  /** @type {bigint[]} */
  const primes = [];
  for (let n = 2n; primes.length < count; n++) if (primes.every((p) => n % p)) primes.push(n);
  return primes.map((p) => {
    let low = 0n;
    let high = 1n << 72n;
    const target = p << (64n * root);
    while (high - low > 1n) {
      const middle = (low + high) >> 1n;
      if (middle ** root <= target) low = middle;
      else high = middle;
    }
    return low & WORD;
  });
}

/** @param {Uint8Array} bytes @returns {Uint8Array} */
function sha512(bytes) {
  const rounds = fractions(80, 3n);
  const hash = fractions(8, 2n);
  const padded = new Uint8Array(Math.ceil((bytes.length + 17) / 128) * 128);
  padded.set(bytes);
  padded[bytes.length] = 0x80;
  const view = new DataView(padded.buffer);
  view.setUint32(padded.length - 4, bytes.length * 8);
  /** @param {bigint} x @param {bigint} n */
  const turn = (x, n) => ((x >> n) | (x << (64n - n))) & WORD;
  for (let block = 0; block < padded.length; block += 128) {
    const w = Array.from({ length: 16 }, (_, at) => view.getBigUint64(block + 8 * at));
    for (let t = 16; t < 80; t++) {
      const [x, y] = [w[t - 15], w[t - 2]];
      const s0 = turn(x, 1n) ^ turn(x, 8n) ^ (x >> 7n);
      const s1 = turn(y, 19n) ^ turn(y, 61n) ^ (y >> 6n);
      w.push((w[t - 16] + s0 + w[t - 7] + s1) & WORD);
    }
    let [a, b, c, d, e, f, g, h] = hash;
    for (let t = 0; t < 80; t++) {
      const s1 = turn(e, 14n) ^ turn(e, 18n) ^ turn(e, 41n);
      const t1 = h + s1 + ((e & f) ^ (~e & WORD & g)) + rounds[t] + w[t];
      const s0 = turn(a, 28n) ^ turn(a, 34n) ^ turn(a, 39n);
      const t2 = s0 + ((a & b) ^ (a & c) ^ (b & c));
      [h, g, f, e, d, c, b, a] = [g, f, e, (d + t1) & WORD, c, b, a, (t1 + t2) & WORD];
    }
    [a, b, c, d, e, f, g, h].forEach((value, at) => (hash[at] = (hash[at] + value) & WORD));
  }
  const out = new DataView(new ArrayBuffer(64));
  hash.forEach((value, at) => out.setBigUint64(8 * at, value));
  return new Uint8Array(out.buffer);
}
