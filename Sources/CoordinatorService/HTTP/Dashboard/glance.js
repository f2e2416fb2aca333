// The figures that say in seconds how a run is, and what its last re-placement cost and brought.

import { h, say } from './dom.js';
import { bytes, count, duration, loss, plural, ratio, seconds, short } from './format.js';
import { isInFlight, lastStep } from './feed.js';

const figures = ['Balance', 'Loss', 'Tokens a second', 'Step', 'Sent a step'];

/** How even ranks work, in words; `balance` is the mean over the slowest rank. */
export function evenness(balance) {
  if (balance >= 0.95) return 'even';
  if (balance >= 0.85) return 'nearly even';
  return balance >= 0.7 ? 'uneven' : 'very uneven';
}

/** What a plan cost and brought. Gains compare the same measure before and after; those of prediction and measurement can be
 *  compared, their seconds cannot: measured ones have dispatch and combine, too. */
export function payback(plan, step) {
  const { observation, prediction, seconds: cost } = plan;
  if (!observation || cost === undefined) return undefined;
  const gain = observation.seconds_before - observation.seconds_after;
  const steps = Math.max(0, step - plan.accepted_step + 1);
  return {
    gain, cost, steps,
    predicted: prediction && prediction.seconds_before - prediction.seconds_after,
    after: gain > 0 ? Math.max(1, Math.ceil(cost / gain)) : undefined,
    saved: gain * steps - cost,
  };
}

/** Whether a plan's cost has come back by a step, in a word or two. */
export function paidOff(plan, step) {
  const back = payback(plan, step);
  if (!back) return undefined;
  if (back.after === undefined) return 'no';
  return back.after <= back.steps ? `after ${plural(back.after, 'step')}` : 'not yet';
}

/** Whether a plan's cost came back: { judgement, detail, kind: good, bad or open }. */
export function verdict(plan, step) {
  const back = payback(plan, step);
  if (!back) return { judgement: 'Measured after the next interval.', detail: '', kind: 'open' };
  const predicted = back.predicted === undefined ? '' : ` (predicted: ${seconds(Math.abs(back.predicted))} ${back.predicted < 0 ? 'longer' : 'less'})`;
  if (back.after === undefined) {
    return { judgement: 'Not paid off:', detail: `a step’s experts take ${seconds(-back.gain)} longer${predicted}.`, kind: 'bad' };
  }
  const gain = `a step’s experts take ${seconds(back.gain)} less${predicted}`;
  if (back.after > back.steps) {
    return { judgement: `Pays off in ${plural(back.after - back.steps, 'step')}, ${plural(back.after, 'step')} after the switch:`, detail: `${gain}.`, kind: 'open' };
  }
  // The gain was measured once; that it has lasted is assumed.
  const saved = back.saved > 0 ? `, which comes to about ${seconds(+back.saved.toPrecision(2))} since` : '';
  return { judgement: `Paid off after ${plural(back.after, 'step')}:`, detail: `${gain}${saved}.`, kind: 'good' };
}

function verdictNodes(feed) {
  const flight = feed.plans.find(isInFlight);
  const flying = flight && {
    proposed: `Plan ${flight.revision} is proposed.`,
    accepted: `Plan ${flight.revision} is accepted: layers switch from step ${count(flight.accepted_step ?? 0)} on.`,
    applying: `Plan ${flight.revision} is being applied: ${flight.switched_layers} of ${flight.layers} layers have switched.`,
  }[flight.state];
  const plan = feed.lastReplacement;
  if (!plan) {
    const why = feed.frozen ? 'planning is frozen' : 'the first plan of this start is still in force';
    return ['none', h('b', {}, 'No re-placement yet: '), flying ?? `${why}.`];
  }
  const { judgement, detail, kind } = verdict(plan, feed.summary.step ?? 0);
  const { observation, prediction } = plan;
  const balance = !observation ? ''
    : `Balance ${ratio(observation.balance_before)} → ${ratio(observation.balance_after)}${prediction ? ` (predicted ${ratio(prediction.balance_after)})` : ''}. `;
  const cost = plan.bytes === undefined ? '' : ` moved ${bytes(plan.bytes)} in ${seconds(plan.seconds ?? 0)}`;
  const interval = feed.wholeIntervals.findLast(({ step_seconds }) => step_seconds > 0);
  const steps = interval && plan.seconds ? ` (the time of ${+(plan.seconds / interval.step_seconds).toPrecision(2)} steps)` : '';
  return [kind, h('b', {}, `Last re-placement: plan ${plan.revision}`), ` at step ${count(plan.accepted_step)}${cost}${steps}. ${balance}`,
    h('span', { className: 'judgement' }, judgement), ` ${detail}`, flying ? ` ${flying}` : ''];
}

export function glance(root) {
  const list = root.querySelector('dl');
  const line = root.querySelector('#verdict');
  const cells = new Map(figures.map(name => {
    const value = h('dd', { className: 'figure' }), note = h('dd', { className: 'note' });
    list.append(h('div', {}, h('dt', {}, name), value, note));
    return [name, (text, more) => { say(value, text); say(note, more ?? ''); }];
  }));
  return {
    needs: ['run', 'intervals', 'plans'],
    update(feed) {
      const { summary, wholeIntervals: intervals, configuration } = feed;
      const last = intervals.findLast(({ balance }) => balance !== undefined) ?? intervals.at(-1);
      const newest = intervals.at(-1);
      const set = (name, ...texts) => cells.get(name)(...texts);
      if (last?.balance === undefined) set('Balance', '–', 'no report yet');
      else set('Balance', ratio(last.balance), `${evenness(last.balance)}; 1 is perfect`);
      set('Loss', summary.loss === undefined ? '–' : loss(summary.loss), newest ? `at step ${count(lastStep(newest))}` : 'no report yet');
      set('Tokens a second', newest?.tokens_per_second ? short(newest.tokens_per_second) : '–',
        newest ? `${seconds(newest.step_seconds)} a step` : 'no report yet');
      const steps = Number(configuration.steps);
      const ahead = steps - (summary.step ?? 0);
      const rest = newest && summary.state === 'running' && ahead > 0 ? `, ${duration(ahead * newest.step_seconds)} left` : '';
      set('Step', count(summary.step ?? 0), steps > 0 && steps < 1e8 ? `of ${count(steps)}${rest}` : 'so far');
      set('Sent a step', newest ? bytes(newest.bytes_sent / Math.max(1, newest.step_count)) : '–', 'by all ranks');
      const [kind, ...nodes] = verdictNodes(feed);
      const text = nodes.map(node => node.textContent ?? node).join('');
      line.className = `verdict ${kind}`;
      if (line.textContent !== text) line.replaceChildren(...nodes);
    },
  };
}
