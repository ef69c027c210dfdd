// Counts the files of each layer as it passes. The folder transom/ is the SDK: `transom plugin build` puts it there.

import { Outcome, processor } from './transom/processor.js';
import { entries } from './transom/tar.js';

export const stage = processor((job, input, output) => {
  let files = 0;
  for (const entry of entries(input, output)) {
    // '0' is a file, '5' a folder and so on.
    files += entry.type === '0' ? 1 : 0;
  }
  return new Outcome().annotate('com.example.{name}.files', files);
});
