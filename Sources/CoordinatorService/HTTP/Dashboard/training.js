// Loss, tokens a second and balance over the steps, with every plan marked: predicted against achieved.

import { h, svg, tableOnDemand, table, timeElement } from './dom.js';
import { bytes, clock, count, loss, ratio, seconds, short, tenths } from './format.js';
import { isReplacement, lastStep } from './feed.js';
import { LineCharts } from './charts.js';

/** From the least to the most, widened a little. */
const around = values => {
  const low = Math.min(...values), high = Math.max(...values);
  const room = (high - low) * 0.06 || Math.abs(high) * 0.05 || 1;
  return values.length ? [low - room, high + room] : [0, 1];
};
const fromZero = values => [0, Math.max(...values, 1e-9) * 1.06];

/** The step at which a plan stands: that of its switch, else the step that ran when it was made. */
function planStep(plan, intervals) {
  if (plan.accepted_step > 0) return plan.accepted_step;
  const later = intervals.find(({ received_at }) => received_at >= plan.created_at) ?? intervals.at(-1);
  return later?.first_step ?? 0;
}

export function training(root) {
  let plans = [], intervals = [];
  const key = (name, text) => h('span', { className: `key ${name}` }, text);

  /** For each plan the balance that was predicted, as long as it was in force, and the one that came. */
  const drawPlans = (x, y, [low, high]) => {
    const taken = plans.filter(isReplacement).sort((a, b) => a.accepted_step - b.accepted_step);
    const nodes = [];
    taken.forEach((plan, index) => {
      const from = Math.max(low, plan.accepted_step), to = Math.min(high, taken[index + 1]?.accepted_step ?? high);
      if (plan.accepted_step > high || to < low) return;
      if (plan.prediction) {
        const at = y(plan.prediction.balance_after);
        nodes.push(svg('line', { class: 'predicted', x1: x(from), x2: x(to), y1: at, y2: at }),
          svg('circle', { class: 'predicted', r: 3.5, cx: x(from), cy: at }));
      }
      if (plan.observation) nodes.push(svg('circle', { class: 'achieved', r: 3.5, cx: x(from), cy: y(plan.observation.balance_after) }));
    });
    return nodes;
  };

  const lines = new LineCharts(root.querySelector('.chart'), 'Loss, tokens a second and balance by step', [
    { title: 'Loss', height: 110, value: item => item.loss, domain: around, format: value => String(+value.toFixed(3)), full: loss },
    { title: 'Tokens a second', height: 70, value: item => item.tokens, domain: fromZero, format: short, full: short },
    {
      title: 'Balance of the ranks', height: 110, value: item => item.balance, full: ratio,
      format: value => value.toFixed(1),
      domain: values => [Math.max(0, Math.floor((Math.min(0.8, ...around(values)) - 0.02) * 10) / 10), 1],
      note: [key('predicted', 'predicted'), key('achieved', 'achieved'), key('refused', 'not taken')], extra: drawPlans,
    },
  ]);

  const fill = tableOnDemand(root.querySelector('details'), shown => table(
    'Intervals, the newest first', [
      ['Steps', i => `${count(i.first_step)}–${count(lastStep(i))}`],
      ['Received', i => timeElement(i.received_at, clock(i.received_at))],
      ['Plan', i => String(i.plan_revision || 'switching'), true],
      ['Loss', i => i.loss === undefined ? undefined : loss(i.loss), true],
      ['Step time', i => seconds(i.step_seconds), true],
      ['Tokens/s', i => i.tokens_per_second === undefined ? undefined : short(i.tokens_per_second), true],
      ['Balance', i => i.balance === undefined ? undefined : ratio(i.balance), true],
      ['Load balance', i => i.load_balance === undefined ? undefined : ratio(i.load_balance), true],
      ['Sent', i => bytes(i.bytes_sent), true],
      ['Ranks', i => String(i.ranks), true],
      // Where experts have a capacity.
      ...(intervals.every(i => i.dropped_share === undefined) ? []
        : [['Dropped', i => i.dropped_share === undefined ? undefined : tenths(i.dropped_share), true]]),
    ], intervals.toReversed(), shown));

  return {
    needs: ['intervals', 'plans'],
    update(feed) {
      plans = feed.plans;
      intervals = feed.wholeIntervals;
      root.classList.toggle('empty', intervals.length === 0);
      let part = 0, last = -1;
      const items = intervals.map(interval => {
        const step = lastStep(interval);
        // A start from a checkpoint goes back in steps: a new line.
        if (step <= last) part += 1;
        last = step;
        const { balance, load_balance, dropped_share } = interval;
        return {
          x: step, part, loss: interval.loss, balance, tokens: interval.tokens_per_second,
          // Of one of thousands, when it is looked at.
          lines: () => [
            `Step ${count(step)}`,
            ...(interval.loss === undefined ? [] : [`loss ${loss(interval.loss)}`]),
            `${short(interval.tokens_per_second ?? 0)} tokens/s, ${seconds(interval.step_seconds)} a step`,
            ...(balance === undefined ? [] : [`balance of ranks ${ratio(balance)}`]),
            ...(load_balance === undefined ? [] : [`balance of experts’ loads ${ratio(load_balance)}`]),
            ...(dropped_share === undefined ? [] : [`${tenths(dropped_share)} of the pairs dropped`]),
            interval.plan_revision ? `plan ${interval.plan_revision}` : 'layers were switching',
          ],
        };
      });
      const marks = plans.filter(plan => isReplacement(plan) || ['rejected', 'withdrawn', 'abandoned'].includes(plan.state))
        .map(plan => ({ x: planStep(plan, intervals), label: plan.revision, isTaken: isReplacement(plan) })).sort((a, b) => a.x - b.x);
      lines.update(items, marks);
      fill();
    },
  };
}
