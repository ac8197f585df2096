// Where the page gets its numbers. A page served by `lookbehind view` asks the server; an exported page (embedded.js)
// carries them. Both are a Source, and nothing else in web/ knows which it has.

/**
 * @typedef {object} Layer
 * @property {number} index
 * @property {string} name
 * @property {number} n_heads
 * @property {number} n_kv_heads
 * @property {string} pattern
 * @property {number} scale
 * @property {number | null} softcap
 * @property {boolean} sinks
 * @property {boolean} alibi
 *
 * @typedef {object} Tape
 * @property {string} title
 * @property {string} model
 * @property {string} source
 * @property {number} n_queries
 * @property {number} n_keys
 * @property {number} offset position of query row 0
 * @property {number[]} steps rows of each forward call: the first is the prefill
 * @property {boolean} complete
 * @property {number} tile values along the side of a tile
 * @property {number} top the level at which the whole map is one tile
 * @property {Layer[]} layers
 * @property {(string | string[] | {name: string, reason: string})[]} skipped
 * @property {{tokens: boolean, ids: boolean, next: boolean, influence: boolean}} has
 * @property {string} engine
 * @property {string[]} [left_out] what an exported page does not contain, in words
 *
 * @typedef {{tokens: string[] | null, ids: number[] | null}} Tokens
 *
 * @typedef {object} HeadScores
 * @property {number} layer
 * @property {number} head
 * @property {string} pattern
 * @property {number | null} entropy
 * @property {number | null} relative_entropy
 * @property {number | null} distance
 * @property {number | null} sink
 * @property {number | null} previous
 * @property {number | null} duplicate
 * @property {number | null} induction
 * @property {number | null} max_score
 *
 * @typedef {{state: "ready" | "working" | "sampled", done: number, total: number, heads: HeadScores[], error?: string}} Heads
 *
 * @typedef {object} TileRequest
 * @property {string} of
 * @property {string} pool
 * @property {number} skip
 * @property {number} renorm
 * @property {string[]} ids "L.H.z.y.x"
 *
 * @typedef {object} Frame one answered tile
 * @property {number} index place in the ids that were asked for
 * @property {"exact" | "sampled" | "error"} state
 * @property {number} rows
 * @property {number} columns
 * @property {number} multiplier a value is float16 * multiplier
 * @property {number} low least positive finite value, 0 if none
 * @property {number} high greatest finite value
 * @property {Uint16Array} halves float16 bits, row-major
 * @property {string} words of an error
 *
 * @typedef {object} Track one number per query or per key
 * @property {string} name
 * @property {"query" | "key"} axis
 * @property {Float32Array} values
 *
 * @typedef {{state: "ready" | "working" | "sampled", done: number, total: number, tracks: Track[]}} Tracks
 *
 * @typedef {{dots: Float32Array, scores: Float32Array, weights: Float32Array, rows: number, columns: number}} Cells
 *
 * @typedef {{token: string | null, id: number, p: number}} Candidate
 * @typedef {{query: number, top: Candidate[], came: Candidate | null, recorded: boolean}} Next
 *
 * @typedef {{layer: number, head: number, of: string, skip: number, renorm: number, done: number, total: number}} Job
 * @typedef {{alive: boolean, jobs: Job[], memory_mb: number, warning?: string | null}} Status
 * @typedef {{n: number, values: number[][]}} Influence
 *
 * @typedef {object} Source
 * @property {() => Promise<Tape>} tape
 * @property {() => Promise<Tokens>} tokens
 * @property {() => Promise<Heads>} heads
 * @property {(layer: number, head: number, signal?: AbortSignal) => Promise<Frame>} thumb
 * @property {(request: TileRequest, onFrame: (frame: Frame) => void, signal: AbortSignal) => Promise<void>} tiles
 * @property {(layer: number, head: number, query: number, signal?: AbortSignal) => Promise<Float32Array>} row
 * @property {(layer: number, head: number, key: number, signal?: AbortSignal) => Promise<Float32Array>} column
 * @property {(layer: number, head: number, q0: number, q1: number, k0: number, k1: number, signal?: AbortSignal) => Promise<Cells>} cells
 * @property {(layer: number, head: number) => Promise<Tracks>} tracks
 * @property {(query: number, signal?: AbortSignal) => Promise<Next | null>} next null where nothing was recorded
 * @property {() => Promise<Status>} status
 * @property {() => Promise<Influence | null>} influence
 * @property {(layer: number, head: number) => number | null} [finest] the level from which on an exported page holds a
 *   head, null where it holds every product; a server holds all
 * @property {boolean} live whether a server answers, which may stop
 */

const HEADER = 32;
const STATES = /** @type {const} */ (["exact", "sampled", "error"]);

/** What a server said no to; `status` 0 where no server answered at all. */
export class SourceError extends Error {
  /** @param {string} words @param {number} status */
  constructor(words, status) {
    super(words);
    this.status = status;
  }
}

/** Whether an error only says that its request was no longer wanted. @param {unknown} error */
export const aborted = (error) => error instanceof DOMException && error.name === "AbortError";

/**
 * The source that asks the server this page came from.
 *
 * @returns {Source}
 */
export function server() {
  /** @param {string} path @param {AbortSignal} [signal] */
  async function get(path, signal) {
    let answer;
    try {
      answer = await fetch(`api/${path}`, { signal, cache: "no-store" });
    } catch (error) {
      if (aborted(error)) throw error;
      throw new SourceError("the server does not answer", 0);
    }
    if (answer.ok) return answer;
    const said = await answer.json().catch(() => null);
    throw new SourceError(said?.error ?? `the server answered ${answer.status}`, answer.status);
  }
  /** @param {string} path @param {AbortSignal} [signal] */
  const json = async (path, signal) => (await get(path, signal)).json();
  /** @param {string} path @param {AbortSignal} [signal] */
  const floats = async (path, signal) => new Float32Array(await (await get(path, signal)).arrayBuffer());

  return {
    live: true,
    tape: () => json("tape"),
    tokens: () => json("tokens"),
    heads: () => json("heads"),
    status: () => json("status"),
    influence: () => json("influence"),
    row: (layer, head, query, signal) => floats(`row/${layer}/${head}/${query}`, signal),
    column: (layer, head, key, signal) => floats(`column/${layer}/${head}/${key}`, signal),

    async thumb(layer, head, signal) {
      const bytes = new Uint8Array(await (await get(`thumb/${layer}/${head}`, signal)).arrayBuffer());
      const frame = frames(() => {});
      const [one] = frame(bytes);
      if (!one || one.state === "error") throw new SourceError(one?.words ?? "an empty answer", 500);
      return one;
    },

    async tiles({ of, pool, skip, renorm, ids }, onFrame, signal) {
      const answer = await get(`tiles?of=${of}&pool=${pool}&skip=${skip}&renorm=${renorm}&ids=${ids.join(",")}`, signal);
      const take = frames(onFrame);
      const reader = /** @type {ReadableStream<Uint8Array>} */ (answer.body).getReader();
      try {
        for (;;) {
          const { done, value } = await reader.read();
          if (done) return;
          take(value);
        }
      } catch (error) {
        if (aborted(error) || signal.aborted) throw new DOMException("no longer wanted", "AbortError");
        throw new SourceError("the server stopped in the middle of an answer", 0);
      }
    },

    async cells(layer, head, q0, q1, k0, k1, signal) {
      const all = await floats(`cells/${layer}/${head}?q0=${q0}&q1=${q1}&k0=${k0}&k1=${k1}`, signal);
      const size = (q1 - q0) * (k1 - k0);
      return {
        rows: q1 - q0,
        columns: k1 - k0,
        dots: all.subarray(0, size),
        scores: all.subarray(size, 2 * size),
        weights: all.subarray(2 * size, 3 * size),
      };
    },

    async tracks(layer, head) {
      const buffer = await (await get(`tracks/${layer}/${head}`)).arrayBuffer();
      return tracks(buffer);
    },

    async next(query, signal) {
      try {
        return await json(`next/${query}`, signal);
      } catch (error) {
        if (error instanceof SourceError && error.status === 404) return null;
        throw error;
      }
    },
  };
}

/**
 * The tracks of a head from their bytes: a length, a JSON header, then float32 arrays in its order.
 *
 * @param {ArrayBuffer} buffer
 * @returns {Tracks}
 */
export function tracks(buffer) {
  const length = new DataView(buffer).getUint32(0, true);
  const { state, done, total, names } = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  let at = 4 + length;
  const found = [];
  for (const { name, axis, length: n } of names) {
    // The header's length leaves the numbers at any byte: a copy aligns them.
    found.push({ name, axis, values: new Float32Array(buffer.slice(at, at + 4 * n)) });
    at += 4 * n;
  }
  return { state, done, total, tracks: found };
}

/**
 * A reader of tile frames from a stream cut anywhere: feed it bytes, it calls back with each whole frame, and
 * returns those that the bytes completed.
 *
 * @param {(frame: Frame) => void} onFrame
 */
export function frames(onFrame) {
  let kept = new Uint8Array(0);
  return (/** @type {Uint8Array} */ bytes) => {
    if (kept.length) {
      const joined = new Uint8Array(kept.length + bytes.length);
      joined.set(kept);
      joined.set(bytes, kept.length);
      bytes = joined;
    }
    const done = [];
    let at = 0;
    while (bytes.length - at >= HEADER) {
      const view = new DataView(bytes.buffer, bytes.byteOffset + at, HEADER);
      const size = view.getUint32(28, true);
      if (bytes.length - at < HEADER + size) break;
      const payload = bytes.slice(at + HEADER, at + HEADER + size);
      const state = STATES[view.getUint32(4, true)] ?? "error";
      /** @type {Frame} */
      const frame = {
        index: view.getUint32(0, true),
        state,
        rows: view.getUint32(8, true),
        columns: view.getUint32(12, true),
        multiplier: view.getFloat32(16, true),
        low: view.getFloat32(20, true),
        high: view.getFloat32(24, true),
        halves: state === "error" ? new Uint16Array(0) : new Uint16Array(payload.buffer, 0, size >> 1),
        words: state === "error" ? new TextDecoder().decode(payload) : "",
      };
      done.push(frame);
      onFrame(frame);
      at += HEADER + size;
    }
    kept = bytes.slice(at);
    return done;
  };
}
