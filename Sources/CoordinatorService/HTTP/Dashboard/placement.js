// The placement as a map of ranks × experts: replicas, shards, and how the last plan moved them.

import { h, say, table, tableOnDemand } from './dom.js';
import { count, percent, plural, ranges, times } from './format.js';
import { colour, shade } from './colours.js';
import { font, Map2D, scaleLegend } from './map.js';
import { layerOptions, leastEven, relative, topOf } from './loads.js';

/** Models with more experts are shown a layer at a time; with less room for each than so many pixels at first, too. */
const shownExperts = 256;
const leastCell = 8;
/** Pixels of labels and bars beside them, at least. */
const besideCells = 90;
/** More ranks than this are shown by node. */
const shownRanks = 64;
const shownRows = 128;
const shownArrows = 250;

/** Where the shards of an expert begin and end; larger ones come first. */
function cuts({ width, cuts: given, mesh: { tensor_parallel: shards } }) {
  if (given) return given;
  const made = [0];
  for (let shard = 0; shard < shards; shard += 1) made.push(made[shard] + Math.floor(width / shards) + (shard < width % shards ? 1 : 0));
  return made;
}

/** What each rank holds of an expert: neurons `from` … `to`, and the fraction of tokens of its replica. */
export function holdings(expert) {
  const { data_parallel: replicas, tensor_parallel: shards, ranks } = expert.mesh;
  const bounds = cuts(expert);
  return ranks.map((rank, index) => {
    const replica = Math.floor(index / shards), shard = index % shards;
    return { rank, replica, shard, from: bounds[shard], to: bounds[shard + 1], fraction: expert.fractions?.[replica] ?? 1 / replicas };
  });
}

/** Neurons that ranks get which they did not have, each from a rank that had them: one that gives them up, else one near. */
export function movesOf(before, after, nodes) {
  const old = holdings(before), fresh = holdings(after);
  const had = new Map(old.map(held => [held.rank, held]));
  const has = new Set(fresh.map(({ rank }) => rank));
  const moves = [];
  for (const { rank, from, to } of fresh) {
    const own = had.get(rank);
    if (own && own.from <= from && own.to >= to) continue;
    const sources = old.filter(source => source.rank !== rank && source.from < to && source.to > from);
    const cost = source => (has.has(source.rank) ? 2 : 0) + (nodes[source.rank] === nodes[rank] ? 0 : 1);
    const source = sources.reduce((best, other) => (best && cost(best) <= cost(other) ? best : other), undefined);
    if (source) moves.push({ from: source.rank, to: rank });
  }
  return { moves, left: old.filter(({ rank }) => !has.has(rank)).map(({ rank }) => rank) };
}

/** Rows of the map: ranks, or groups of them. */
function rowsOf(nodes, only) {
  const all = nodes.map((_, rank) => rank).filter(rank => !only || only.has(rank));
  if (all.length <= shownRanks) return all.map(rank => ({ ranks: [rank], label: String(rank), name: `rank ${rank}` }));
  const byNode = Map.groupBy(all, rank => nodes[rank]);
  if (byNode.size > 1 && byNode.size <= shownRows) {
    return [...byNode].map(([node, ranks]) => ({ ranks, label: `node ${node}`, name: `node ${node}, ranks ${ranges(ranks)}` }));
  }
  const size = Math.ceil(all.length / shownRows);
  return Array.from({ length: Math.ceil(all.length / size) }, (_, index) => {
    const ranks = all.slice(index * size, (index + 1) * size);
    return { ranks, label: `${ranks[0]}–${ranks.at(-1)}`, name: `ranks ${ranges(ranks)}` };
  });
}

/** The faintest is still told from where nothing is. */
const tint = amount => shade(0.16 + 0.84 * amount);

/** The layer of which the most experts moved; undefined when none did. */
function mostMoved(plan, previous) {
  if (previous?.world_size !== plan.world_size) return undefined;
  const moved = plan.layers.map(({ experts }, layer) =>
    experts.filter((expert, index) => {
      const before = previous.layers[layer]?.experts[index];
      return before && movesOf(before, expert, plan.nodes).moves.length;
    }).length);
  const most = Math.max(...moved);
  return most ? moved.indexOf(most) : undefined;
}

const between = ({ from, to }) => `${from}→${to}`;

export function placement(root, view) {
  const select = root.querySelector('select');
  const showMoves = root.querySelector('input');
  const movesLabel = root.querySelector('label span');
  const back = root.querySelector('button');
  const caption = root.querySelector('.caption');
  const map = new Map2D(root.querySelector('.chart'), 'Ranks and the experts that they hold', 'Arrow keys go from rank to rank and expert to expert.');
  let feed, shown, only, worst, wantsAll = false, latest = 0;

  select.addEventListener('change', () => {
    wantsAll = select.value === '';
    view.choose(wantsAll ? undefined : Number(select.value));
  });
  showMoves.addEventListener('change', () => draw());
  back.addEventListener('click', () => { only = undefined; draw(); map.body.focus(); });

  const fill = tableOnDemand(root.querySelector('details'), rows => table(
    `Where experts are under plan ${shown?.revision}`, [
      ['Layer', column => String(column.layer)],
      ['Expert', column => String(column.expert), true],
      ['Replicas × shards', ({ placed: { mesh } }) => `${mesh.data_parallel} × ${mesh.tensor_parallel}`],
      ['Ranks', ({ placed: { mesh } }) => mesh.ranks.join(' ')],
      ['Tokens', ({ placed }) => (placed.fractions ?? []).map(fraction => percent(fraction)).join(' ') || 'even'],
      ['Load, × mean', ({ load }) => load === undefined ? undefined : times(load), true],
      ['Moves', ({ change }) => change?.moves.map(between).join(' ') || undefined],
    ], shown?.columns ?? [], rows));

  /** The plan's experts that are shown, with their loads and what moved. */
  function columnsOf(plan, previous, layer, loads) {
    const comparable = previous && previous.world_size === plan.world_size;
    const columns = [], groups = [];
    plan.layers.forEach((own, index) => {
      const number = layer ?? index;
      // Of none there is nothing to be seen, and its label would be where the next one's is.
      if (own.experts.length) groups.push({ start: columns.length, label: `layer ${number}` });
      const amounts = loads?.expert_loads[number] && relative(loads.expert_loads[number]);
      own.experts.forEach((placed, expert) => {
        const before = comparable ? previous.layers[index]?.experts[expert] : undefined;
        columns.push({ layer: number, expert, placed, holders: holdings(placed), load: amounts?.[expert], change: before && movesOf(before, placed, plan.nodes) });
      });
    });
    return { columns, groups, comparable };
  }

  function draw() {
    if (!shown) return;
    const { columns, groups, nodes, plan, previousRevision, comparable } = shown;
    const rows = rowsOf(nodes, only);
    const rowOf = new Map(rows.flatMap(({ ranks }, index) => ranks.map(rank => [rank, index])));
    back.hidden = !only;
    // Work of each cell in means of a layer's expert, and the part of the neurons that is there.
    const cells = new Map();
    const totals = new Float64Array(rows.length);
    columns.forEach(({ holders, load, placed }, column) => {
      for (const held of holders) {
        const row = rowOf.get(held.rank);
        if (row === undefined) continue;
        const key = row * columns.length + column;
        const part = (held.to - held.from) / placed.width;
        const amount = (load ?? 1) * held.fraction;
        const cell = cells.get(key) ?? { from: held.from / placed.width, part: 0, density: 0, work: 0, held: [] };
        cell.part += part;
        cell.work += amount * part;
        cell.density = Math.max(cell.density, amount);
        cell.held.push(held);
        cells.set(key, cell);
        totals[row] += amount * part;
      }
    });
    const ranksOf = rows.map(({ ranks }) => ranks.length);
    const perRank = totals.map((total, row) => total / ranksOf[row]);
    const mean = totals.reduce((a, b) => a + b, 0) / ranksOf.reduce((a, b) => a + b, 0) || 1;
    const grouped = rows.some(({ ranks }) => ranks.length > 1);
    const colourOf = cell => (grouped ? cell.work : cell.density);
    const top = topOf([...cells.values()].map(colourOf));

    const arrows = [];
    const left = new Set();
    columns.forEach(({ change, load }, column) => {
      for (const { from, to } of change?.moves ?? []) {
        if (rowOf.has(to)) arrows.push({ column, from: rowOf.get(from), to: rowOf.get(to), load: load ?? 0 });
      }
      for (const rank of change?.left ?? []) if (rowOf.has(rank) && !cells.has(rowOf.get(rank) * columns.length + column)) left.add(rowOf.get(rank) * columns.length + column);
    });
    arrows.sort((a, b) => b.load - a.load);
    const drawn = arrows.filter(({ from, to }) => from !== to).slice(0, shownArrows);

    say(movesLabel, comparable ? `moves from plan ${previousRevision} to ${plan.revision} (${count(arrows.length)})` : 'moves');
    showMoves.parentElement.hidden = !comparable;
    describe(columns, arrows, drawn, grouped);

    const margin = root.clientWidth < 520 ? 48 : 150;
    map.update({
      rows: rows.length, columns: columns.length, groups: groups.length > 1 ? groups : undefined, margin, rowTitle: 'rank',
      rowHeight: Math.max(grouped ? 4 : 8, Math.min(34, Math.floor((grouped ? 512 : 400) / rows.length))),
      rowLabel: row => rows[row].label,
      paint(context, g) {
        context.fillStyle = colour('hollow');
        for (let row = 0; row < rows.length; row += 1) {
          for (const [index, { start }] of groups.entries()) {
            const end = (groups[index + 1]?.start ?? columns.length) - 1;
            context.fillRect(g.x(start), g.y(row), g.x(end) + g.cell - g.x(start), g.row - g.line);
          }
        }
        for (const [key, cell] of cells) {
          const row = Math.floor(key / columns.length), column = key % columns.length;
          const room = g.cell - g.line;
          context.fillStyle = tint(colourOf(cell) / top);
          const from = grouped ? 0 : cell.from;
          context.fillRect(g.x(column) + from * room, g.y(row), Math.max(1, Math.min(1, cell.part) * room), g.row - g.line);
        }
        paintNodes(context, g, rows, nodes);
        paintTotals(context, g, perRank, mean, margin);
        if (showMoves.checked && comparable) paintMoves(context, g, drawn, arrows, left, columns.length);
      },
      describe(row, column) {
        const { layer, expert, placed, load, change } = columns[column];
        const cell = cells.get(row * columns.length + column);
        const held = (cell?.held ?? []).slice(0, 4).map(({ rank, replica, shard, from, to, fraction }) =>
          `${grouped ? `rank ${rank}: ` : ''}replica ${replica + 1} of ${placed.mesh.data_parallel}` +
          (placed.mesh.tensor_parallel > 1 ? `, shard ${shard + 1} of ${placed.mesh.tensor_parallel}, neurons ${from}–${to - 1}` : '') +
          `, ${percent(fraction)} of its tokens`);
        if (cell && cell.held.length > 4) held.push(`and ${cell.held.length - 4} more`);
        const moved = (change?.moves ?? []).filter(({ from, to }) => rowOf.get(from) === row || rowOf.get(to) === row).map(between);
        return [
          `Layer ${layer}, expert ${expert}, ${rows[row].name}`,
          ...(held.length ? held : [`not here; on ranks ${ranges(placed.mesh.ranks.slice(0, 32))}${placed.mesh.ranks.length > 32 ? ' …' : ''}`]),
          ...(load === undefined ? [] : [`the expert’s load is ${times(load)} the mean`]),
          ...(moved.length ? [`moved ${moved.join(', ')}`] : []),
          `${grouped ? 'these ranks' : 'the rank'} in all: ${times(perRank[row] / mean)} the mean of ranks`,
        ];
      },
      select: grouped ? row => { only = new Set(rows[row].ranks); draw(); } : undefined,
    });
    map.hint = grouped ? 'Arrow keys go through the map; Enter shows the ranks of a row.' : 'Arrow keys go from rank to rank and expert to expert.';
    const hasLoads = columns.some(({ load }) => load !== undefined);
    const legend = root.querySelector('.legend');
    scaleLegend(legend, tint, top, hasLoads ? 'Rows that are computed there, as a multiple of the layer’s mean expert'
      : 'No loads are reported yet: the share of an expert that is there, as if all had the same load');
    if (showMoves.checked && arrows.length + left.size) {
      legend.append(h('span', { className: 'key moved' }, `neurons moved with plan ${plan.revision}`), h('span', { className: 'key left' }, 'the expert left'));
    }
    fill();
  }

  function describe(columns, arrows, drawn, grouped) {
    const { plan, layer, comparable, previousRevision, nodes } = shown;
    const replicated = columns.filter(({ placed }) => placed.mesh.data_parallel > 1).length;
    const sharded = columns.filter(({ placed }) => placed.mesh.tensor_parallel > 1).length;
    const what = layer === undefined ? plural(columns.length, 'expert') : `${plural(columns.length, 'expert')} of layer ${layer}`;
    const moved = !comparable ? (previousRevision ? ' The plan before was for another number of ranks.' : '')
      : arrows.length === 0 ? ` Nothing of ${layer === undefined ? 'them' : 'this layer'} moved with plan ${plan.revision}.`
      : ` Arrows show what plan ${plan.revision} moved${drawn.length < arrows.length && drawn.length === shownArrows ? `: ${shownArrows} of ${count(arrows.length)}, those of the busiest experts` : ''}.`;
    say(caption, `Plan ${plan.revision} on ${plural(nodes.length, 'rank')}, ${plural(new Set(nodes).size, 'node')}: ${what}, ${count(replicated)} with replicas, ${count(sharded)} with shards.` +
      `${grouped ? ' A row is several ranks.' : sharded ? ' A shard is as wide as its part of the neurons.' : ''} Bars are each rank’s work against the mean.${moved}`);
  }

  return {
    needs: ['run', 'plans', 'loads'],
    async update(now) {
      feed = now;
      const active = feed.activePlan;
      if (!active) return;
      const newest = feed.loads.at(-1);
      const large = feed.summary.experts > shownExperts;
      const isCramped = root.clientWidth - besideCells < leastCell * feed.summary.experts;
      if (large || isCramped) worst ??= newest && leastEven(newest.expert_loads);
      let layer = view.layer ?? (large ? worst ?? 0 : undefined);
      const ticket = (latest += 1);
      const previous = feed.previousPlan;
      let [plan, before] = await Promise.all([
        feed.placement(active.revision, layer), previous && feed.placement(previous.revision, layer).catch(() => undefined),
      ]);
      // Another choice of layer may have overtaken this one.
      if (ticket !== latest) return;
      if (layer === undefined && isCramped && !wantsAll) {
        layer = mostMoved(plan, before) ?? worst ?? 0;
        const alone = whole => whole && { ...whole, layers: [whole.layers[layer]] };
        [plan, before] = [alone(plan), alone(before)];
      }
      layerOptions(select, feed.model.layers.length, large ? undefined : 'all layers', layer);
      if (shown && shown.nodes.length !== plan.nodes.length) only = undefined;
      shown = { plan, revision: active.revision, layer, nodes: plan.nodes, previousRevision: previous?.revision, ...columnsOf(plan, before, layer, newest) };
      draw();
    },
  };
}

/** Lines where one node ends and the next begins. */
function paintNodes(context, g, rows, nodes) {
  context.fillStyle = colour('soft');
  rows.forEach(({ ranks }, index) => {
    if (index && rows[index - 1].ranks.length === 1 && nodes[ranks[0]] !== nodes[rows[index - 1].ranks[0]]) {
      context.fillRect(0, g.y(index) - 1, g.x(0) + g.width, 1);
    }
  });
}

/** Bars to the right: the work of each row's ranks, and a line at the mean. */
function paintTotals(context, g, perRank, mean, margin) {
  const hasNumbers = margin > 60 && g.row >= 12;
  const from = g.width - margin + 12, room = margin - 12 - (hasNumbers ? 44 : 0);
  const most = Math.max(...perRank, mean);
  context.fillStyle = colour('measure');
  perRank.forEach((total, row) => context.fillRect(from, g.y(row) + Math.min(3, g.row / 5), (total / most) * room, Math.max(1, g.row - g.line - 2 * Math.min(3, g.row / 5))));
  context.fillStyle = colour('ink');
  context.fillRect(from + (mean / most) * room - 0.5, g.top - 3, 1, g.bottom - g.top + 3);
  context.fillStyle = colour('soft');
  context.font = font(11);
  context.textAlign = 'left';
  context.textBaseline = 'alphabetic';
  context.fillText('work', from, g.top - 6);
  if (!hasNumbers) return;
  context.textAlign = 'right';
  context.textBaseline = 'middle';
  context.fillText('× mean', g.width, g.top - 10);
  perRank.forEach((total, row) => context.fillText((total / mean).toFixed(2), g.width, g.y(row) + g.row / 2));
}

function paintMoves(context, g, arrows, all, left, columns) {
  context.strokeStyle = context.fillStyle = colour('plan');
  context.lineWidth = 1;
  context.setLineDash([2, 2]);
  for (const key of left) {
    context.strokeRect(g.x(key % columns) + 0.5, g.y(Math.floor(key / columns)) + 0.5, Math.max(2, g.cell - g.line - 1), g.row - g.line - 1);
  }
  context.setLineDash([]);
  context.lineWidth = arrows.length > 60 || g.cell < 8 ? 1 : 1.75;
  context.globalAlpha = arrows.length > 100 ? 0.55 : 1;
  const head = Math.max(2.5, Math.min(5, g.cell / 3, g.row / 2));
  const taken = new Map();
  for (const { column, from, to } of arrows) {
    // Several of a column stand beside each other.
    const nth = taken.get(column) ?? 0;
    taken.set(column, nth + 1);
    const shift = g.cell >= 14 ? ((nth % 3) - 1) * (g.cell / 4) * (nth ? 1 : 0) : 0;
    const x = g.x(column) + g.cell / 2 + shift;
    const down = to > from ? 1 : -1;
    const start = g.y(from) + g.row / 2, end = g.y(to) + g.row / 2;
    const bend = g.cell >= 8 ? Math.min(6, g.cell / 4) : 0;
    context.beginPath();
    context.moveTo(x, start);
    context.quadraticCurveTo(x + bend, (start + end) / 2, x, end - down * head);
    context.stroke();
    context.beginPath();
    context.arc(x, start, Math.min(2, head / 2), 0, 2 * Math.PI);
    context.fill();
    context.beginPath();
    context.moveTo(x, end);
    context.lineTo(x - head, end - down * head * 1.6);
    context.lineTo(x + head, end - down * head * 1.6);
    context.fill();
  }
  // Within a row there is no room for an arrow.
  for (const { column, from, to } of all) {
    if (from === to) context.fillRect(g.x(column) + g.cell / 2 - 1.5, g.y(from) + g.row / 2 - 1.5, 3, 3);
  }
  context.globalAlpha = 1;
}
