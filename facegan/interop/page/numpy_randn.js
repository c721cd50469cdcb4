// numpy's RandomState(seed).randn(n), so that a seed is the same face here as everywhere else.

const N = 624;
const M = 397;

/** MT19937 (Matsumoto and Nishimura 1998), seeded with one number as in its 2002 version. */
class MersenneTwister {
  constructor(seed) {
    this.state = new Uint32Array(N); // assigning to it keeps 32 bits
    this.state[0] = seed;
    for (let i = 1; i < N; i++) {
      const before = this.state[i - 1];
      this.state[i] = Math.imul(1812433253, before ^ (before >>> 30)) + i;
    }
    this.place = N;
  }

  /** A whole number of 32 bits. */
  bits() {
    if (this.place === N) this.twist();
    let y = this.state[this.place++];
    y ^= y >>> 11;
    y ^= (y << 7) & 0x9d2c5680;
    y ^= (y << 15) & 0xefc60000;
    return (y ^ (y >>> 18)) >>> 0;
  }

  twist() {
    const { state } = this;
    for (let i = 0; i < N; i++) {
      const y = (state[i] & 0x80000000) | (state[(i + 1) % N] & 0x7fffffff);
      state[i] = state[(i + M) % N] ^ (y >>> 1) ^ (y & 1 ? 0x9908b0df : 0);
    }
    this.place = 0;
  }

  /** A number in [0, 1) of 53 bits: 27 of one draw, 26 of the next. */
  uniform() {
    const high = this.bits() >>> 5;
    const low = this.bits() >>> 6;
    return (high * 2 ** 26 + low) / 2 ** 53;
  }
}

/** Normal numbers (Float64Array) by the polar method (Marsaglia and Bray 1964); of a pair the second first. */
export function randn(seed, count) {
  const random = new MersenneTwister(seed);
  const values = new Float64Array(count + 1); // a pair may begin with the last one
  for (let i = 0; i < count; i += 2) {
    let x, y, square;
    do {
      x = 2 * random.uniform() - 1;
      y = 2 * random.uniform() - 1;
      square = x * x + y * y;
    } while (square >= 1 || square === 0);
    const factor = Math.sqrt((-2 * Math.log(square)) / square);
    values[i] = factor * y;
    values[i + 1] = factor * x;
  }
  return values.subarray(0, count);
}
