// Colours of the style sheet for canvases, and a scale for amounts whose lightness changes evenly, so that it can be read
// without telling hues apart. More is further from the page's own colour.

const styles = getComputedStyle(document.documentElement);
export const colour = name => styles.getPropertyValue(`--${name}`).trim();

const dark = matchMedia('(prefers-color-scheme: dark)');
export const onScheme = draw => dark.addEventListener('change', draw);

const stops = {
  light: ['#edf3f2', '#c4e4da', '#7cc4c4', '#3c95bd', '#2260a6', '#0b2a66'],
  dark: ['#1a242d', '#1d4266', '#1f7096', '#2fa3a0', '#8bd39b', '#f6f4b4'],
};
const steps = 64;
const made = new Map();

function build(name) {
  const channels = stops[name].map(stop => [1, 3, 5].map(at => parseInt(stop.slice(at, at + 2), 16)));
  return Array.from({ length: steps }, (_, index) => {
    const at = (index / (steps - 1)) * (channels.length - 1);
    const left = Math.min(Math.floor(at), channels.length - 2);
    return `rgb(${channels[left].map((value, channel) => Math.round(value + (channels[left + 1][channel] - value) * (at - left))).join(' ')})`;
  });
}

/** The colour of an amount from 0 to 1. */
export function shade(amount) {
  const name = dark.matches ? 'dark' : 'light';
  if (!made.has(name)) made.set(name, build(name));
  return made.get(name)[Math.max(0, Math.min(steps - 1, Math.round(amount * (steps - 1))))];
}

/** The colour of text on a shade. */
export const onShade = amount => colour(amount < (dark.matches ? 0.5 : 0.68) ? 'ink' : 'page');
