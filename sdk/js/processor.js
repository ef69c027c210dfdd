// Processors: a stage in the way of a layer's bytes.
//
//     import { Outcome, processor } from './transom/processor.js';
//
//     export const stage = processor((job, input, output) => {
//       for (const chunk of input.chunks()) {
//         output.write(chunk);
//       }
//       return new Outcome();
//     });
//
// The host makes a fresh instance for each layer, so nothing is kept from one to the next. What the plugin is called and what it
// converts is taken from `plugin.toml`.

import project from './project.js';
import { errorOf, Failure, variantOf } from './transom.js';

/** The media type of a plain layer. */
export const LAYER_TAR = 'application/vnd.oci.image.layer.v1.tar';

/** Bytes that are best read and written at a time. */
export const CHUNK = 256 * 1024;

/** Bytes of one call that writes. The interface sets the limit. */
const WRITE_MAX = 4 * 1024 * 1024;

/** A stream of the host failed. A plugin need not catch it: the host knows why. */
function ioFailed(thrown) {
  const error = errorOf(thrown);
  return error === undefined ? thrown : new Failure('io', error, error.tag);
}

/** The bytes of the layer. */
export class Input {
  #reader;

  constructor(reader) {
    this.#reader = reader;
  }

  /** Between 1 and `most` bytes, or none at the end. */
  read(most = CHUNK) {
    try {
      return this.#reader.read(most);
    } catch (thrown) {
      throw ioFailed(thrown);
    }
  }

  /** All of them, chunk by chunk. */
  *chunks(most = CHUNK) {
    for (let chunk = this.read(most); chunk.length > 0; chunk = this.read(most)) {
      yield chunk;
    }
  }
}

/** Where the bytes go. */
export class Output {
  #writer;

  constructor(writer) {
    this.#writer = writer;
  }

  /** Writes all of a Uint8Array. */
  write(bytes) {
    try {
      for (let at = 0; at < bytes.length; at += WRITE_MAX) {
        this.#writer.write(bytes.length <= WRITE_MAX ? bytes : bytes.slice(at, at + WRITE_MAX));
      }
    } catch (thrown) {
      throw ioFailed(thrown);
    }
  }
}

/** The layer may not be used. Thrown, it ends the job, and the text is the reason. */
export class Refused extends Error {}

/** What is said of the layer beside its bytes. */
export class Outcome {
  annotations = [];
  findings = [];

  /** Records something with the layer. Keys are in reverse domain notation. */
  annotate(key, value) {
    this.annotations.push([key, String(value)]);
    return this;
  }

  /** Reports something: `severity` is `info`, `warning` or `critical`. */
  find(severity, rule, location, message) {
    this.findings.push({ severity, rule, location, message });
    return this;
  }
}

/** What is asked of the plugin: the host's record, with annotations and configuration as objects. */
function jobOf(job) {
  const config = Object.fromEntries(job.config.map(([key, value]) => [key, value.val]));
  const annotations = Object.fromEntries(job.descriptor.annotations);
  return { ...job, config, descriptor: { ...job.descriptor, annotations } };
}

/** Makes a function the processor: `run(job, input, output)`, which returns an `Outcome`, or nothing. */
export function processor(run) {
  return {
    describe() {
      return { name: project.name, version: project.version, conversions: project.conversions };
    },
    run(job, reader, writer) {
      try {
        const { annotations, findings } = run(jobOf(job), new Input(reader), new Output(writer)) ?? new Outcome();
        return { annotations, findings, verdict: { tag: 'continue' } };
      } catch (thrown) {
        if (thrown instanceof Refused) {
          return { annotations: [], findings: [], verdict: { tag: 'refuse', val: thrown.message } };
        }
        throw variantOf(thrown);
      }
    },
  };
}
