// A storage driver that stands on another and keeps everything turned by 13. The folder transom/ is the SDK: `transom plugin build`
// puts it there.

import { drivers, Layered } from './transom/driver.js';

class Turned extends Layered {
  encode(offset, content) {
    return content.map((byte) => byte + 13);
  }

  decode(offset, kept) {
    return kept.map((byte) => byte - 13);
  }
}

export const { driver, plugin } = drivers(Turned);
