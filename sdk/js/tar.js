// A look into a tar as it passes.
//
//     for (const entry of entries(input, output)) {
//       if (entry.path.endsWith('package.json') && entry.size < 1 << 20) {
//         const text = entry.text();
//       }
//     }
//
// Everything that is read goes to the output, so at the end of the loop the layer has passed. Long names and attributes of pax and
// GNU tars are understood; what else is in a header is left alone.

import { corrupt } from './transom.js';

const BLOCK = 512;

/** Bytes of the extra headers of one entry. Real ones have hundreds. */
const EXTRA_MAX = 1 << 20;

/** The bytes of UTF-8 as text; what is no UTF-8 becomes U+FFFD. */
export function utf8(bytes) {
  let text = '';
  for (let at = 0; at < bytes.length; ) {
    const first = bytes[at];
    const length = first < 0x80 ? 1 : first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : first >= 0xc0 ? 2 : 0;
    let code = [0, first, first & 0x1f, first & 0x0f, first & 0x07][length];
    let taken = 1;
    for (; taken < length && (bytes[at + taken] & 0xc0) === 0x80; taken++) {
      code = (code << 6) | (bytes[at + taken] & 0x3f);
    }
    text += taken === length && code <= 0x10ffff ? String.fromCodePoint(code) : '\ufffd';
    at += taken;
  }
  return text;
}

/** Reads from the input, and passes on what it reads. */
class Source {
  #input;
  #output;
  #chunk = new Uint8Array(0);
  #at = 0;
  offset = 0;

  constructor(input, output) {
    this.#input = input;
    this.#output = output;
  }

  #fill() {
    if (this.#at === this.#chunk.length) {
      this.#chunk = this.#input.read();
      this.#at = 0;
      this.#output.write(this.#chunk);
    }
    return this.#chunk.length > 0;
  }

  /** Exactly so many bytes; fewer at the end. */
  take(count) {
    const taken = new Uint8Array(count);
    let filled = 0;
    while (filled < count && this.#fill()) {
      const piece = this.#chunk.subarray(this.#at, this.#at + count - filled);
      taken.set(piece, filled);
      filled += piece.length;
      this.#at += piece.length;
    }
    this.offset += filled;
    return filled === count ? taken : taken.subarray(0, filled);
  }

  /** Goes past so many bytes, and says how many there were. */
  skip(count) {
    let skipped = 0;
    while (skipped < count && this.#fill()) {
      const piece = Math.min(count - skipped, this.#chunk.length - this.#at);
      skipped += piece;
      this.#at += piece;
    }
    this.offset += skipped;
    return skipped;
  }

  drain() {
    for (this.#at = this.#chunk.length; this.#fill(); ) {
      this.#at = this.#chunk.length;
    }
  }
}

/** A field of a header, up to its first zero. */
function field(block, at, length) {
  const end = block.subarray(at, at + length).indexOf(0);
  return utf8(block.subarray(at, end < 0 ? at + length : at + end));
}

/** A number of a header: octal, or of base 256 when it is large. */
function number(block, at, length) {
  if (block[at] & 0x80) {
    return block.subarray(at + 1, at + length).reduce((sum, byte) => sum * 256 + byte, block[at] & 0x7f);
  }
  return Number.parseInt(field(block, at, length).trim() || '0', 8);
}

/** The records of a pax header, into a Map. */
function pax(bytes, records) {
  for (let at = 0; at < bytes.length; ) {
    const space = bytes.indexOf(32, at);
    const length = space < 0 ? Number.NaN : Number(utf8(bytes.subarray(at, space)));
    const equals = bytes.indexOf(61, space);
    if (!(length > 0) || equals < 0 || at + length > bytes.length) {
      return false;
    }
    records.set(utf8(bytes.subarray(space + 1, equals)), utf8(bytes.subarray(equals + 1, at + length - 1)));
    at += length;
  }
  return true;
}

/** An entry of the tar. What it holds can be had until the next one. */
class Entry {
  #source;
  #left;
  #padding;

  constructor(source, block, records) {
    this.#source = source;
    const prefix = field(block, 257, 5) === 'ustar' && block[262] === 0 ? field(block, 345, 155) : '';
    const name = field(block, 0, 100);
    /** Where it is, as the tar has it. */
    this.path = records.get('path') ?? (prefix ? `${prefix}/${name}` : name);
    /** `0` is a file, `5` a folder, `1` a link, `2` a symbolic link. */
    this.type = block[156] === 0 ? '0' : String.fromCharCode(block[156]);
    /** The target of a link. */
    this.target = records.get('linkpath') ?? field(block, 157, 100);
    /** Its bytes. */
    this.size = Number(records.get('size') ?? number(block, 124, 12));
    this.mode = number(block, 100, 8);
    this.uid = Number(records.get('uid') ?? number(block, 108, 8));
    this.gid = Number(records.get('gid') ?? number(block, 116, 8));
    /** The records of its pax header. */
    this.pax = records;
    // Links and the like have no content, whatever their header says.
    this.#left = /[123456]/.test(this.type) ? 0 : this.size;
    this.#padding = (BLOCK - (this.#left % BLOCK)) % BLOCK;
  }

  /** Its content, which must fit into memory: look at `size` first. */
  bytes() {
    const taken = this.#source.take(this.#left);
    this.#left -= taken.length;
    return taken;
  }

  /** The same, as text. */
  text() {
    return utf8(this.bytes());
  }

  /** Goes past what is left of it. */
  finish() {
    const count = this.#left + this.#padding;
    this.#left = 0;
    this.#padding = 0;
    return this.#source.skip(count) === count;
  }
}

function checkSum(block) {
  return block.reduce((sum, byte, at) => sum + (at >= 148 && at < 156 ? 32 : byte), 0);
}

/** The entries of a tar, which passes from the input to the output. */
export function* entries(input, output) {
  const source = new Source(input, output);
  let records = new Map();
  for (;;) {
    const at = source.offset;
    const block = source.take(BLOCK);
    if (block.length === 0 || block.every((byte) => byte === 0)) {
      source.drain();
      return;
    }
    if (block.length < BLOCK) {
      throw corrupt('the tar ends inside a header', source.offset);
    }
    if (checkSum(block) !== number(block, 148, 8)) {
      throw corrupt('the check sum of a tar header does not fit', at);
    }
    const entry = new Entry(source, block, records);
    if (!(entry.size >= 0)) {
      throw corrupt('a tar header has no sound size', at);
    }
    for (let more = entry.type === 'S' ? block[482] : 0; more; ) {
      // More of the map of a sparse file, which the size does not count.
      more = source.take(BLOCK)[504];
    }
    const extra = { x: true, L: 'path', K: 'linkpath', g: null }[entry.type];
    if (extra === undefined) {
      yield entry;
      records = new Map();
    } else if (extra !== null) {
      if (entry.size > EXTRA_MAX) {
        throw corrupt('the extra header of an entry is larger than 1 MiB', at);
      }
      const bytes = entry.bytes();
      if (extra === true ? !pax(bytes, records) : !records.set(extra, field(bytes, 0, bytes.length))) {
        throw corrupt('a pax header is damaged', at);
      }
    }
    if (!entry.finish()) {
      throw corrupt('the tar ends inside an entry', source.offset);
    }
  }
}
