// Where each rank's step goes: computing, and exchanging, where ranks wait for the slowest.

import { h, say, table, tableOnDemand } from './dom.js';
import { count, percent, ranges, seconds } from './format.js';
import { lastStep } from './feed.js';
import { colour } from './colours.js';
import { Map2D } from './map.js';

const exchanging = ['dispatch', 'combine', 'gradients'];
/** In the order of a step. */
const known = ['attention', 'router', 'dispatch', 'experts', 'combine', 'gradients', 'optimizer'];
/** More ranks than this stand side by side, those with the least work first. */
const shownBars = 32;

export function phases(root) {
  const caption = root.querySelector('.caption');
  const legend = root.querySelector('.legend');
  const map = new Map2D(root.querySelector('.chart'), 'Seconds of a step by rank and phase', 'Arrow keys go from rank to rank and phase to phase.');
  let ranks = [], names = [], timings;

  const fill = tableOnDemand(root.querySelector('details'), shown => table(
    'Time of a step by rank and phase', [
      ['Rank', row => String(row.rank)],
      ['Step', row => seconds(row.step), true],
      ...names.map((name, index) => [name, row => seconds(row.parts[index]), true]),
    ], ranks.toSorted((a, b) => a.rank - b.rank), shown));

  function words() {
    const at = names.indexOf('experts');
    const steps = `Steps ${count(timings.first_step)}–${count(lastStep(timings))}, times are of one step.`;
    if (at < 0 || ranks.length < 2) return steps;
    const slowest = ranks.reduce((a, b) => (b.parts[at] > a.parts[at] ? b : a));
    const mean = ranks.reduce((total, { parts }) => total + parts[at], 0) / ranks.length;
    const over = mean ? slowest.parts[at] / mean - 1 : 0;
    if (over < 0.02) return `No rank waits long for another: the experts of all take ${seconds(mean)}, within 2${'\u202f'}%. ${steps}`;
    const exchange = ({ parts }) => exchanging.reduce((total, name) => total + (parts[names.indexOf(name)] ?? 0), 0);
    const waiting = ranks.reduce((a, b) => (exchange(b) > exchange(a) ? b : a));
    return `The others wait for rank ${slowest.rank}: its experts take ${seconds(slowest.parts[at])}, ${percent(over)} over the mean. ` +
      `Rank ${waiting.rank} is longest in exchanges, where waiting counts: ${seconds(exchange(waiting))}. ${steps}`;
  }

  return {
    needs: ['timings', 'run'],
    update(feed) {
      root.classList.toggle('empty', !feed.timings);
      if (feed.timings && feed.timings === timings) return;
      ({ timings } = feed);
      if (!timings) return say(caption, 'Who waits for whom is told with the first report of all ranks.');
      const spentIn = [...known.filter(name => timings.phases.includes(name)), ...timings.phases.filter(name => !known.includes(name))];
      names = [...spentIn, 'rest'];
      ranks = timings.ranks.map(({ rank, step_seconds: step, seconds: spent }) => {
        const parts = spentIn.map(name => spent[timings.phases.indexOf(name)]);
        return { rank, step, parts: [...parts, Math.max(0, step - parts.reduce((total, part) => total + part, 0))] };
      });
      const experts = names.indexOf('experts');
      const many = ranks.length > shownBars;
      if (many) ranks.sort((a, b) => a.parts[experts] - b.parts[experts]);
      const most = Math.max(...ranks.map(({ parts }) => parts.reduce((total, value) => total + value, 0)));
      say(caption, words() + (many ? ` Ranks stand by the time of their experts, the slowest last.` : ''));
      // With more ranks than there is room for, each line is the mean of several.
      const per = many ? Math.ceil(ranks.length / 140) : 1;
      const rows = Array.from({ length: Math.ceil(ranks.length / per) }, (_, index) => {
        const own = ranks.slice(index * per, (index + 1) * per);
        return { own, parts: names.map((_, part) => own.reduce((total, { parts }) => total + parts[part], 0) / own.length) };
      });
      map.update({
        rows: rows.length, columns: names.length,
        rowHeight: many ? Math.max(3, Math.floor(420 / rows.length)) : Math.max(12, Math.min(30, Math.floor(380 / rows.length))),
        rowLabel: row => (per > 1 ? '' : String(rows[row].own[0].rank)),
        rowTitle: per > 1 ? '' : 'rank',
        spans: row => {
          let at = 0;
          return rows[row].parts.map(part => [at / most, (at += part) / most]);
        },
        axis: { most, format: seconds },
        paint(context, g) {
          rows.forEach(({ parts }, row) => {
            let at = 0;
            parts.forEach((part, index) => {
              context.fillStyle = colour(known.includes(names[index]) ? `phase-${names[index]}` : 'phase-rest');
              const from = g.span(at / most), to = g.span((at + part) / most);
              context.fillRect(from, g.y(row), Math.max(0, to - from - (to - from > 3 ? 1 : 0)), g.row - (g.row >= 5 ? 2 : 0));
              at += part;
            });
          });
        },
        describe(row, column) {
          const { own, parts } = rows[row];
          return [
            own.length > 1 ? `Mean of ranks ${ranges(own.map(({ rank }) => rank).slice(0, 12))}` : `Rank ${own[0].rank}`,
            `${names[column]} ${seconds(parts[column])}`,
            ...names.flatMap((name, index) => (index === column ? [] : [`${name} ${seconds(parts[index])}`])),
          ];
        },
      });
      legend.replaceChildren(...names.map(name => h('li', { className: `phase ${known.includes(name) ? name : 'rest'}` }, name)));
      fill();
    },
  };
}
