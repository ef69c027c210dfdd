// What every plugin in JavaScript has: a log, and words for what goes wrong.
//
// A function of a plugin fails by throwing one of the errors here. Anything else that it throws is reported as well, with its stack:
// it is taken for a mistake in the plugin.

import host from 'transom:common/log@0.1.0';

/** Characters of a text in an error. */
const TEXT_MAX = 4000;

const line = (level) => (...words) => host.log(level, words.map(String).join(' '));

/** Lines for the host's log. It adds who says it. Nothing secret belongs there. */
export const log = {
  trace: line('trace'),
  debug: line('debug'),
  info: line('info'),
  warn: line('warn'),
  error: line('error'),
};

// A plugin has no other place for what is printed.
globalThis.console = { ...log, log: log.info };

/** Why a call failed. */
export class Failure extends Error {
  /** `tag` is a case of `error` in wit/common/types.wit, and `val` its value. */
  constructor(tag, val, message = String(val)) {
    super(message);
    this.tag = tag;
    this.val = val;
  }
}

/** What is asked is sound, but uses something that this plugin does not do. */
export const unsupported = (message) => new Failure('unsupported', message);

/** The input is damaged; `offset` says where, in bytes from the start of the input, if that is known. */
export const corrupt = (message, offset = null) => new Failure('corrupt', { offset, message }, message);

/** The plugin needs something that it was not granted. */
export const denied = (message) => new Failure('denied', message);

/** The value of a configuration key is one that the plugin cannot work with. */
export const misconfigured = (key, message) => new Failure('config', { key, message }, message);

/** A limit that the plugin itself sets was met. The text says which, and how to raise it. */
export const limit = (message) => new Failure('limit', message);

/** Anything else. */
export const failure = (message) => new Failure('other', message);

/** What a function of the host's threw: the error that its interface has; undefined if it is none. */
export const errorOf = (thrown) => (thrown instanceof Error ? thrown.payload : undefined);

/** What something that was thrown is to the host. */
export function variantOf(thrown) {
  if (thrown instanceof Failure) {
    return { tag: thrown.tag, val: thrown.val };
  }
  return { tag: 'other', val: textOf(thrown) };
}

/** What something that was thrown says. */
export function textOf(thrown) {
  if (thrown instanceof Failure) {
    return thrown.message;
  }
  const text = thrown instanceof Error ? `${thrown}\n${thrown.stack ?? ''}` : String(thrown);
  return text.trim().slice(0, TEXT_MAX);
}
