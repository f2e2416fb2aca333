// A heat map of the experts' loads: all layers in the newest interval, or one layer over time.

import { h, say, table, tableOnDemand } from './dom.js';
import { count, ratio, tenths, times } from './format.js';
import { lastStep } from './feed.js';
import { colour, onShade, shade } from './colours.js';
import { font, Map2D, scaleLegend } from './map.js';

const sum = values => values.reduce((total, value) => total + value, 0);

/** The loads of a layer as multiples of their mean. */
export const relative = loads => {
  const mean = sum(loads) / loads.length;
  return loads.map(load => (mean ? load / mean : 0));
};

/** What a table says of a row of loads; nothing where it has none. */
const ofLoads = text => row => (row.loads.length ? text(row) : undefined);

/** A round number over the values; of very many over almost all, so that a single one does not leave the others pale. */
export function topOf(values) {
  const sorted = Float64Array.from(values).sort();
  const high = sorted[sorted.length < 1000 ? sorted.length - 1 : Math.floor(sorted.length * 0.998)] ?? 1;
  return [1.5, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 50, 100].find(top => top >= high) ?? Math.ceil(high);
}

/** The part of the (token, expert) pairs of layers that found no place; undefined: experts take all. */
const droppedShare = ({ expert_loads: loads, dropped_tokens: dropped }, layers) => {
  if (!dropped) return undefined;
  const lost = sum(layers.map(layer => dropped[layer] ?? 0)), all = lost + sum(layers.map(layer => sum(loads[layer] ?? [])));
  return all && lost / all;
};

/** The layer whose busiest expert stands out most. */
export const leastEven = loads => loads.map(relative)
  .reduce((worst, row, layer, rows) => (Math.max(...row) > Math.max(...rows[worst]) ? layer : worst), 0);

/** Fills a selection with all and each layer; keeps what is chosen. */
export function layerOptions(select, layers, all, chosen) {
  const wanted = all === undefined ? layers : layers + 1;
  if (select.length !== wanted) {
    select.replaceChildren(...(all === undefined ? [] : [h('option', { value: '' }, all)]),
      ...Array.from({ length: layers }, (_, layer) => h('option', { value: String(layer) }, `layer ${layer}`)));
  }
  select.value = chosen === undefined ? '' : String(chosen);
}

export function loads(root, view) {
  const select = root.querySelector('select');
  const caption = root.querySelector('.caption');
  const map = new Map2D(root.querySelector('.chart'), 'Loads of the experts', 'Arrow keys go from expert to expert; Enter shows a layer over time.');
  let rows = [];
  select.addEventListener('change', () => view.choose(select.value === '' ? undefined : Number(select.value)));

  const fill = tableOnDemand(root.querySelector('details'), shown => (view.layer === undefined ? table(
    'Loads by layer in the newest interval, in rows a step', [
      ['Layer', row => String(row.index)],
      ['Least', ofLoads(row => count(row.least / row.steps)), true],
      ['Mean', ofLoads(row => count(row.mean / row.steps)), true],
      ['Largest', ofLoads(row => count(row.most / row.steps)), true],
      ['Busiest expert', ofLoads(row => String(row.busiest)), true],
      ['Mean / largest', ofLoads(row => ratio(row.most ? row.mean / row.most : 1)), true],
      ...(rows[0]?.dropped === undefined ? [] : [['Dropped', row => tenths(row.dropped), true]]),
    ], rows, shown) : table(
    `Loads of layer ${view.layer} in the newest interval`, [
      ['Expert', ([expert]) => String(expert)],
      ['Rows a step', ([, load]) => count(load / rows.at(-1).steps), true],
      ['× mean', ([expert]) => times(rows.at(-1).relative[expert]), true],
    ], (rows.at(-1)?.loads ?? []).map((load, expert) => [expert, load]).sort((a, b) => b[1] - a[1]), shown)));

  return {
    needs: ['loads', 'run'],
    update(feed) {
      const newest = feed.loads.at(-1);
      const isEmpty = !newest?.expert_loads.some(row => row.length);
      root.classList.toggle('empty', isEmpty);
      if (isEmpty) return say(caption, 'Rank 0 has reported no loads yet.');
      const { layer } = view;
      layerOptions(select, newest.expert_loads.length, 'all layers, newest interval', layer);
      const items = layer === undefined
        ? newest.expert_loads.map((own, index) => ({ index, loads: own, label: String(index), steps: newest.step_count, plan: newest.plan_revision, dropped: droppedShare(newest, [index]) }))
        : feed.loads.slice(-120).map(item => ({
          index: layer, loads: item.expert_loads[layer] ?? [], label: count(lastStep(item)), steps: item.step_count, plan: item.plan_revision,
        }));
      rows = items.map(item => {
        const most = Math.max(...item.loads), total = sum(item.loads);
        return {
          ...item, relative: relative(item.loads), most, least: Math.min(...item.loads), mean: total / item.loads.length,
          busiest: item.loads.indexOf(most),
        };
      });
      const columns = Math.max(...rows.map(row => row.loads.length));
      const top = topOf(rows.flatMap(row => row.relative));
      const steps = `${count(newest.first_step)}–${count(lastStep(newest))}`;
      const dropped = droppedShare(newest, layer === undefined ? [...newest.expert_loads.keys()] : [layer]);
      const lost = dropped === undefined ? '' : ` ${tenths(dropped)} of the (token, expert) pairs of steps ${steps} found no place at their expert.`;
      const worst = rows[leastEven(rows.map(row => row.loads))];
      const busiest = worst.most > 0 ? ` The busiest: expert ${worst.busiest} of layer ${worst.index}, ${times(worst.relative[worst.busiest])} its layer’s mean.` : '';
      say(caption, (layer === undefined
        ? `Rows are layers, columns experts; steps ${steps}.${busiest}`
        : `Layer ${layer} over time: rows are intervals by their last step, the newest at the bottom, columns experts. Lines are plans.`) + lost);
      const room = layer === undefined ? 320 : 420;
      map.update({
        rows: rows.length, columns, rowTitle: layer === undefined ? 'layer' : 'step',
        rowHeight: Math.max(3, Math.min(layer === undefined ? 64 : 26, Math.floor(room / rows.length))),
        rowLabel: index => rows[index].label,
        paint(context, g) {
          context.font = font(11);
          context.textAlign = 'center';
          context.textBaseline = 'middle';
          rows.forEach((row, index) => row.relative.forEach((value, expert) => {
            context.fillStyle = shade(value / top);
            const x = Math.round(g.x(expert)), next = Math.round(g.x(expert) + g.cell);
            context.fillRect(x, g.y(index), Math.max(1, next - x - g.line), g.row - g.line);
            if (g.cell < 28 || g.row < 18) return;
            context.fillStyle = onShade(value / top);
            context.fillText(value.toFixed(2), g.x(expert) + g.cell / 2, g.y(index) + g.row / 2);
          }));
          if (layer === undefined) return;
          context.fillStyle = colour('plan');
          rows.forEach((row, index) => {
            if (index && row.plan > rows[index - 1].plan && rows[index - 1].plan) context.fillRect(g.left, g.y(index) - 1.5, g.width - g.left, 2);
          });
        },
        // Layers need not have as many experts as each other.
        describe: (row, expert) => expert >= rows[row].loads.length ? [`Layer ${rows[row].index} has no expert ${expert}`] : [
          `Layer ${rows[row].index}, expert ${expert}`,
          `${times(rows[row].relative[expert])} the layer’s mean`,
          `${count(rows[row].loads[expert] / rows[row].steps)} rows a step`,
          layer === undefined ? `the layer’s busiest is expert ${rows[row].busiest}` : `interval up to step ${rows[row].label}, plan ${rows[row].plan}`,
        ],
        select: row => view.choose(layer === undefined ? rows[row].index : undefined),
      });
      scaleLegend(root.querySelector('.legend'), shade, top, 'Load, as a multiple of the layer’s mean');
      fill();
    },
  };
}
