// Storage drivers that stand on another.
//
//     import { drivers, Layered } from './transom/driver.js';
//
//     class Turned extends Layered {
//       encode(offset, content) {
//         return content.map((byte) => byte + 13);
//       }
//       decode(offset, kept) {
//         return kept.map((byte) => byte - 13);
//       }
//     }
//
//     export const { driver, plugin } = drivers(Turned);
//
// `Layered` hands every call to the driver below. Its two functions change the bytes on the way, one for one. Whatever else is to be
// different is a method to be overridden: they are those of wit/storage/storage.wit. Readers, writers and entries are objects with the
// methods that they have there; the static ones have no parameter for the writer.

import below from 'transom:storage/driver@0.1.0';
import settings from 'transom:storage/settings@0.1.0';
import project from './project.js';
import { errorOf, Failure, textOf } from './transom.js';

/** The configuration, as `plugin.toml` declares it: a key without a value is missing. */
export const config = () => Object.fromEntries(settings.config().map(([key, value]) => [key, value.val]));

/** A secret that `plugin.toml` declares, or undefined if the operator has given none. */
export const secret = (name) => settings.secretOf(name)?.reveal();

/** Why a call failed: `tag` is a case of `error` in wit/storage/storage.wit, and `val` its value. */
export class Failed extends Error {
  constructor(tag, val) {
    super(val === undefined ? tag : `${tag}: ${val}`);
    this.error = { tag, val };
  }
}

/** Content of the driver below that is being read, and changed on the way. */
class Reader {
  constructor(driver, reader, offset) {
    this.driver = driver;
    this.reader = reader;
    this.offset = offset;
  }

  read(max) {
    const kept = this.reader.read(max);
    const content = this.driver.decode(this.offset, kept);
    this.offset += kept.length;
    return content;
  }
}

/** Content of the driver below that is being written, and changed on the way. */
export class Writer {
  constructor(driver, writer) {
    this.driver = driver;
    this.writer = writer;
  }

  size() {
    return this.writer.size();
  }

  write(bytes) {
    this.writer.write(this.driver.encode(Number(this.writer.size()), bytes));
  }

  commit() {
    below.Writer.commit(this.writer);
  }

  commitTo(to) {
    below.Writer.commitTo(this.writer, to);
  }

  close() {
    below.Writer.close(this.writer);
  }

  cancel() {
    below.Writer.cancel(this.writer);
  }
}

/** A driver that does what the one below does. */
export class Layered {
  /** What is kept of content that stands at an offset: as many bytes. */
  encode(offset, content) {
    return content;
  }

  /** The other way round. */
  decode(offset, kept) {
    return kept;
  }

  capabilitiesOf() {
    // A client that fetches from the store itself would get what is kept.
    return { ...below.capabilitiesOf(), redirects: false };
  }

  get(path, limit) {
    return this.decode(0, below.get(path, limit));
  }

  put(path, content, condition) {
    below.put(path, this.encode(0, content), condition);
  }

  read(path, offset) {
    const { file, reader } = below.read(path, offset);
    return { file, reader: new Reader(this, reader, Number(offset)) };
  }

  openWriter(path, mode) {
    return new Writer(this, below.openWriter(path, mode));
  }

  stat(path) {
    return below.stat(path);
  }

  children(folder) {
    return below.children(folder);
  }

  rename(source, to) {
    below.rename(source, to);
  }

  delete(path) {
    below.delete(path);
  }

  redirect() {
    return null;
  }

  walk(folder, after) {
    return below.walk(folder, after);
  }
}

/** Makes what was thrown the host's. Errors of the driver below are passed on as they are. */
function guarded(call) {
  try {
    return call();
  } catch (thrown) {
    if (thrown instanceof Failed) {
      throw thrown.error;
    }
    throw errorOf(thrown) ?? { tag: 'other', val: textOf(thrown) };
  }
}

/** A class of the component's: objects that the host has handles of, each with an object of the driver's. */
function handles(methods, last = []) {
  class Held {
    constructor(own) {
      this.own = own;
    }
  }
  for (const name of methods) {
    Held.prototype[name] = function (...values) {
      return guarded(() => this.own[name](...values));
    };
  }
  for (const name of last) {
    Held[name] = (held, ...values) => guarded(() => held.own[name](...values));
  }
  return Held;
}

const HeldReader = handles(['read']);
const HeldWriter = handles(['size', 'write'], ['commit', 'commitTo', 'close', 'cancel']);
const HeldEntries = handles(['next', 'skip']);

/** The calls that answer with no handle. */
const PLAIN = ['capabilitiesOf', 'get', 'put', 'stat', 'rename', 'delete', 'redirect'];

/** The driver that the component exports. */
function exported(own) {
  const plain = (name) => (...values) => guarded(() => own()[name](...values));
  const entries = (name) => (...values) => guarded(() => new HeldEntries(own()[name](...values)));
  return {
    Reader: HeldReader,
    Writer: HeldWriter,
    Entries: HeldEntries,
    ...Object.fromEntries(PLAIN.map((name) => [name, plain(name)])),
    children: entries('children'),
    walk: entries('walk'),
    read(path, offset) {
      return guarded(() => {
        const { file, reader } = own().read(path, offset);
        return { file, reader: new HeldReader(reader) };
      });
    },
    openWriter(path, mode) {
      return guarded(() => new HeldWriter(own().openWriter(path, mode)));
    },
  };
}

/** Makes a class the driver. An object of it is made when the driver is opened; it may look at `config()` then. */
export function drivers(Kind) {
  let own;
  return {
    driver: exported(() => own),
    plugin: {
      describe() {
        return { name: project.name, version: project.version };
      },
      open() {
        try {
          own = new Kind();
        } catch (thrown) {
          const isConfig = thrown instanceof Failure && thrown.tag === 'config';
          throw isConfig ? { tag: 'config', val: thrown.val } : { tag: 'other', val: textOf(thrown) };
        }
      },
    },
  };
}
