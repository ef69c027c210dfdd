// Label filters: which records a list shows, by an expression.
//
//     import { filter } from './transom/filter.js';
//
//     export const matching = filter({
//       example: '1000000',
//       compile(expression) {
//         const least = Number(expression);
//         return (record) => record.size >= least;
//       },
//     });

import project from './project.js';
import { variantOf } from './transom.js';

/** Gives the pieces of a text by their places in its UTF-8. */
function pieces(text) {
  // biome-ignore lint: everything that is one byte.
  if (/^[\x00-\x7f]*$/.test(text)) {
    return (span) => text.slice(span.at, span.at + span.length);
  }
  const places = new Uint32Array(text.length * 3 + 1);
  let at = 0;
  for (let index = 0; index < text.length; ) {
    const code = text.codePointAt(index);
    places[at] = index;
    at += code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    index += code < 0x10000 ? 1 : 2;
  }
  places[at] = text.length;
  return (span) => text.slice(places[span.at], places[span.at + span.length]);
}

const time = (instant) => {
  return instant == null ? undefined : new Date(Number(instant.seconds) * 1000 + instant.nanoseconds / 1e6);
};

/** What is known of one record. What its kind does not have is undefined; labels and annotations are objects. */
class Record {
  #piece;
  #pairs;
  #facts;

  constructor(piece, pairs, facts) {
    this.#piece = (span) => (span == null ? undefined : piece(span));
    this.#pairs = pairs;
    this.#facts = facts;
  }

  #object(run) {
    const pairs = run == null ? [] : this.#pairs.slice(run.first, run.first + run.count);
    return Object.fromEntries(pairs.map(({ key, value }) => [this.#piece(key), this.#piece(value)]));
  }

  /** `image`, `content`, `ingest`, `lease`, `snapshot` or `event`. */
  get kind() {
    return this.#piece(this.#facts.kind);
  }

  /** Its name, key, id or ref. */
  get name() {
    return this.#piece(this.#facts.name);
  }

  /** Its digest; of an image, its target's. */
  get digest() {
    return this.#piece(this.#facts.digest);
  }

  /** Its media type; of an image, its target's. */
  get mediaType() {
    return this.#piece(this.#facts.mediaType);
  }

  /** Its size in bytes; of an image, its target's. */
  get size() {
    return this.#facts.size == null ? undefined : Number(this.#facts.size);
  }

  /** When it was made, as a Date. */
  get created() {
    return time(this.#facts.created);
  }

  /** When it was last changed, as a Date. */
  get updated() {
    return time(this.#facts.updated);
  }

  /** Its labels. */
  get labels() {
    return this.#object(this.#facts.labels);
  }

  /** The annotations of its descriptor. */
  get annotations() {
    return this.#object(this.#facts.annotations);
  }
}

/** Makes a filter: `compile(expression)` understands one and returns a function that says whether a record matches. */
export function filter({ example, compile }) {
  class Matcher {
    #matches;

    constructor(matches) {
      this.#matches = matches;
    }

    matches(batch) {
      const piece = pieces(batch.text);
      const bits = new Uint8Array(Math.ceil(batch.records.length / 8));
      try {
        batch.records.forEach((facts, index) => {
          if (this.#matches(new Record(piece, batch.pairs, facts))) {
            bits[index >> 3] |= 1 << (index & 7);
          }
        });
      } catch (thrown) {
        throw variantOf(thrown);
      }
      return bits;
    }
  }
  return {
    Matcher,
    describe() {
      return { name: project.name, version: project.version, example };
    },
    compile(expression) {
      try {
        return new Matcher(compile(expression));
      } catch (thrown) {
        throw variantOf(thrown);
      }
    },
  };
}
