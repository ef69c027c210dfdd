// Records of at least so many bytes: `wasm."{name}"==1000000`. The folder transom/ is the SDK: `transom plugin build` puts it there.

import { filter } from './transom/filter.js';
import { failure } from './transom/transom.js';

export const matching = filter({
  example: '1000000',
  compile(expression) {
    const least = Number(expression);
    if (!Number.isInteger(least)) {
      throw failure(`a number of bytes is wanted: ${expression}`);
    }
    return (record) => record.size >= least;
  },
});
