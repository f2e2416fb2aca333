// Plans, workers and events as tables and lists.

import { h, say, table, timeElement } from './dom.js';
import { bytes, count, duration, moment, plural, ranges, ratio, seconds } from './format.js';
import { now } from './api.js';
import { paidOff } from './glance.js';

const arrow = (before, after) => `${ratio(before)} → ${ratio(after)}`;

/** Shows a table in the place of the one before, with as many rows. */
function refill(holder, make) {
  const kept = holder.querySelector('table')?.rowsShown() ?? 0;
  holder.replaceChildren(...make(kept || undefined));
}

export function plans(root) {
  const caption = root.querySelector('.caption'), holder = root.querySelector('.scroll');
  return {
    needs: ['plans', 'run'],
    update({ plans: all, frozen, pinned, summary }) {
      const pins = pinned?.length ? ` ${plural(pinned.length, 'expert')} ${pinned.length === 1 ? 'is' : 'are'} pinned.` : '';
      say(caption, (frozen ? 'Planning is frozen: nothing is proposed.' : 'Balance of the ranks, before → under each plan: as predicted, and as it came.') + pins);
      refill(holder, shown => table('Plans of the run, the newest first', [
        ['Plan', plan => String(plan.revision)],
        ['State', plan => h('span', { className: `state ${plan.state}` }, plan.state)],
        ['Step', plan => plan.accepted_step > 0 ? count(plan.accepted_step) : undefined, true],
        ['Predicted', ({ prediction: p }) => p && arrow(p.balance_before, p.balance_after), true],
        ['Achieved', ({ observation: o }) => o && arrow(o.balance_before, o.balance_after), true],
        ['Moved', plan => plan.bytes !== undefined ? bytes(plan.bytes) : plan.prediction && `~${bytes(plan.prediction.bytes)}`, true],
        ['Took', plan => plan.seconds !== undefined ? seconds(plan.seconds) : plan.prediction && `~${seconds(plan.prediction.move_seconds)}`, true],
        ['Paid off', plan => paidOff(plan, Math.min(summary.step ?? 0, nextStep(all, plan) - 1))],
        ['Who and why', plan => h('span', { className: 'why' }, h('b', {}, plan.who), ` ${plan.why}${plan.reason ? `; ${plan.reason}` : ''}`)],
      ], all, shown ?? 8));
    },
  };
}

/** The first step of the plan that came after. */
const nextStep = (all, plan) => all.filter(({ activated_at, accepted_step }) => accepted_step && activated_at > plan.activated_at)
  .reduce((least, { accepted_step }) => Math.min(least, accepted_step), Infinity);

export function workers(root) {
  const caption = root.querySelector('.caption'), holder = root.querySelector('.scroll');
  let feed;
  /** Seconds since a worker's last report. */
  const age = worker => (worker.reported_at ? (now() - Date.parse(worker.reported_at)) / 1000 : Infinity);
  return {
    needs: ['workers', 'run'],
    update(current) {
      feed = current;
      const { workers: all, summary } = feed;
      const limit = feed.staleAfter;
      const late = summary.state === 'running' ? all.filter(worker => age(worker) > limit) : [];
      const last = all.reduce((newest, { reported_at }) => (reported_at > newest ? reported_at : newest), '');
      const number = plural(all.length, 'worker');
      say(caption, all.length === 0 ? 'No worker has registered yet.'
        : summary.state !== 'running' ? `${number}; the last report came ${last ? `at ${moment(last)}` : 'never'}.`
        : !last ? `${number}, no report yet.`
        : late.length === 0 ? `All ${number} reported within the last ${duration(Math.max(1, ...all.map(age)))}.`
        : late.length === all.length ? `None of the ${number} has reported for more than ${duration(limit)}.`
        : `${plural(late.length, 'worker')} of ${count(all.length)} ${late.length === 1 ? 'is' : 'are'} late: no report of ${late.length === 1 ? 'rank' : 'ranks'} ${someOf(late)} for more than ${duration(limit)}.`);
      const isLate = new Set(late);
      const order = [...all].sort((a, b) => isLate.has(b) - isLate.has(a) || a.rank - b.rank);
      refill(holder, shown => table('Workers, those that are late first', [
        ['Rank', worker => String(worker.rank)],
        ['Host', worker => h('span', { className: 'host', title: worker.host }, worker.host)],
        ['Process', worker => String(worker.process_id), true],
        ['Last report', worker => worker.reported_at
          ? h('span', { className: isLate.has(worker) ? 'late' : '' }, timeElement(worker.reported_at, moment(worker.reported_at)), isLate.has(worker) ? ' late' : '') : 'none yet'],
        ['Step', worker => worker.step === undefined ? undefined : count(worker.step), true],
        ['A step takes', worker => worker.step_seconds === undefined ? undefined : seconds(worker.step_seconds), true],
        ['Memory', worker => worker.resident_bytes === undefined ? undefined : bytes(worker.resident_bytes), true],
      ], order, shown ?? 12));
    },
    /** Ages grow without reports, too. */
    tick() { if (feed) this.update(feed); },
  };
}

/** Their ranks, as far as a line holds them. */
function someOf(workers) {
  const text = ranges(workers.map(({ rank }) => rank));
  return text.length <= 60 ? text : `${text.slice(0, text.lastIndexOf(' ', 60))} …`;
}

const shownEvents = 12;

/** `plan_activated` of plan 3 as Plan 3 activated. */
const titleOf = ({ kind, revision }) => {
  const words = kind.replaceAll('_', ' ');
  return revision ? words.replace(/^plan\b|$/, match => `${match || ' plan'} ${revision}`) : words;
};

export function events(root) {
  const list = root.querySelector('ol'), more = root.querySelector('button');
  let feed, shown = shownEvents;
  const draw = () => {
    const newest = feed.events.slice(-shown).reverse();
    list.replaceChildren(...newest.map(event => h('li', { className: event.kind },
      timeElement(event.at, moment(event.at)),
      h('b', {}, titleOf(event)),
      h('span', {}, ` ${event.why} `, h('i', {}, event.who)))));
    more.hidden = feed.events.length <= shown;
  };
  more.addEventListener('click', () => {
    shown += 100;
    draw();
  });
  return {
    needs: ['events'],
    update(current) {
      if (feed !== current) shown = shownEvents;
      feed = current;
      draw();
    },
  };
}
