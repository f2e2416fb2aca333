// Numbers, times and sizes as people read them. Between a number and its unit stands a narrow space that does not break.

const space = '\u202f';
const whole = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });

export const count = value => whole.format(value);

const significant = new Intl.NumberFormat('en', { maximumSignificantDigits: 3, useGrouping: false });

/** Three significant digits. */
const three = value => significant.format(value);

export function short(value) {
  for (const [unit, size] of [['G', 1e9], ['M', 1e6], ['k', 1e3]]) {
    if (Math.abs(value) >= size * 0.9995) return three(value / size) + space + unit;
  }
  return three(value);
}

export function bytes(value) {
  let size = value, unit = 0;
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];
  while (size >= 1024 && unit < units.length - 1) { size /= 1024; unit += 1; }
  return (unit ? size.toFixed(1) : whole.format(size)) + space + units[unit];
}

export function seconds(value) {
  if (value < 0) return `−${seconds(-value)}`;
  if (value === 0) return `0${space}s`;
  if (value < 0.9995e-3) return three(value * 1e6) + space + 'µs';
  if (value < 0.9995) return three(value * 1e3) + space + 'ms';
  if (value < 99.95) return three(value) + space + 's';
  return duration(value);
}

/** Whole seconds, minutes, hours and days; the two largest. */
export function duration(value) {
  const total = Math.max(0, Math.round(value));
  if (total < 60) return total + space + 's';
  for (const [size, unit, next, nextUnit] of [[86400, 'd', 3600, 'h'], [3600, 'h', 60, 'min'], [60, 'min', 1, 's']]) {
    if (total < size) continue;
    const rest = Math.floor((total % size) / next);
    return Math.floor(total / size) + space + unit + (rest ? ` ${rest}${space}${nextUnit}` : '');
  }
}

export const ratio = value => value.toFixed(3);
export const percent = value => Math.round(value * 100) + space + '%';
export const tenths = value => (value * 100).toFixed(1) + space + '%';
export const loss = value => value.toFixed(4);
export const times = value => value.toFixed(2) + space + '×';
export const plural = (value, one, many = `${one}s`) => `${count(value)} ${value === 1 ? one : many}`;

export const clock = stamp => new Date(stamp).toLocaleTimeString('en-GB');

export const isToday = stamp => new Date(stamp).toDateString() === new Date().toDateString();

// Swedes write dates as ISO 8601 does.
export const day = stamp => new Date(stamp).toLocaleDateString('sv');

/** The time today, and the date before it on other days. */
export const moment = stamp => (isToday(stamp) ? clock(stamp) : `${day(stamp)} ${clock(stamp)}`);

/** Ranks as ranges: 0–3 7. */
export function ranges(numbers) {
  const parts = [];
  for (const number of [...numbers].sort((a, b) => a - b)) {
    const last = parts.at(-1);
    if (last && number === last[1] + 1) last[1] = number;
    else parts.push([number, number]);
  }
  return parts.map(([from, to]) => (from === to ? `${from}` : to === from + 1 ? `${from} ${to}` : `${from}–${to}`)).join(' ');
}

/** Round numbers that cover a domain, about `target` of them; none where they are too large to be told apart. */
export function ticks(low, high, target) {
  const rough = (high - low) / Math.max(1, target) || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map(factor => factor * power).find(size => size >= rough * 0.7);
  // From 2^53 on, adding 1 to a number may leave it as it is.
  if (!(step > 0 && Math.max(Math.abs(low), Math.abs(high)) / step <= 2 ** 52)) return [];
  const made = [], most = 2 * Math.max(1, target) + 2;
  for (let index = Math.ceil(low / step - 1e-9) + 0; index * step <= high + step * 1e-9 && made.length < most; index += 1) {
    made.push(Number.isSafeInteger(step) ? index * step : +(index * step).toPrecision(12));
  }
  return made;
}
