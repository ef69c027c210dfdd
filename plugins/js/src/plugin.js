// A label filter whose expressions are JavaScript: `wasm.js=="labels.team === 'core' && size > 1e6"`. The folder transom/ is the SDK:
// `transom plugin build` puts it there.

import { filter } from './transom/filter.js';
import { failure } from './transom/transom.js';

// An answer must depend on the expression and the record alone.
Math.random = () => {
  throw failure('there are no random numbers in a filter');
};

/** The expression as a function of a record, whose properties are its names. */
function understand(expression) {
  try {
    // With a line of its own, so that a comment at its end ends there.
    return new Function('record', `with (record) { return (${expression}\n); }`);
  } catch (thrown) {
    throw failure(`this is no expression of JavaScript: ${thrown.message}`);
  }
}

export const matching = filter({
  example: "labels.team === 'core' && size > 1e6",
  compile(expression) {
    const matches = understand(expression);
    return (record) => {
      try {
        return matches(record);
      } catch (thrown) {
        throw failure(`the ${record.kind} ${record.name ?? record.digest}: ${thrown.message}`);
      }
    };
  },
});
