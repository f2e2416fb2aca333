// What the page knows of one run, and how it keeps up: a stream says what changed, and that is fetched.

import { changes, get, Refused, TokenNeeded } from './api.js';

/** So many experts' loads are kept over time, of so many intervals; loads of larger models for the newest interval alone. */
const loadBudget = 400_000;
const loadedIntervals = 120;
/** Older intervals than so many are left out. */
const intervalBudget = 20_000;
/** Ranks keep so many reports while the coordinator is away (WorkerRuntime, ControlPlane). */
const lateReports = 256;
/** After so many answers without a late report none is expected, until all ranks report again. */
const patience = 20;
const retryDelays = [1, 2, 4, 8, 15];

/** Until then, or until `signal` aborts. */
export const sleep = (milliseconds, signal) => new Promise(resolve => {
  if (signal?.aborted) return resolve();
  const end = () => {
    clearTimeout(timer);
    signal?.removeEventListener('abort', end);
    resolve();
  };
  const timer = setTimeout(end, milliseconds);
  signal?.addEventListener('abort', end);
});

/** Calls `work` with the newest of what it is given, one call at a time; again a while after one that failed. */
export function newest(work, signal, failed) {
  let next, isRunning = false;
  return async value => {
    next = { value };
    if (isRunning) return;
    isRunning = true;
    while (next && !signal.aborted) {
      const current = next;
      next = undefined;
      try {
        await work(current.value);
      } catch (error) {
        if (signal.aborted) break;
        failed(error);
        await sleep(3000, signal);
        next ??= current;
      }
    }
    isRunning = false;
  };
}

/**
 * Follows a stream until `signal` aborts: calls `changed` with what it says, or with nothing when there is no room for another
 * stream and everything may have changed; `status` with live, polling, lost or, at the end, refused.
 */
export async function follow(path, signal, changed, status) {
  for (let failures = 0; !signal.aborted;) {
    let delay = retryDelays[Math.min(failures, retryDelays.length - 1)] * 1000;
    try {
      for await (const change of changes(path, signal)) {
        failures = 0;
        status('live');
        changed(change);
      }
      // The coordinator ends streams in order; only if it does not take the next one is it lost.
      delay = 1000;
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof TokenNeeded || (error instanceof Refused && error.status < 500)) return status('refused', error);
      const isFull = error instanceof Refused && error.code === 'overloaded';
      status(isFull ? 'polling' : 'lost', error);
      if (isFull) {
        changed(undefined);
        delay = 10_000;
      }
    }
    failures += 1;
    await sleep(delay, signal);
  }
}

export class Feed {
  constructor(run, signal, changed) {
    this.run = run;
    this.path = `runs/${encodeURIComponent(run)}`;
    this.signal = signal;
    this.changed = changed;
    /** Whether the coordinator knows of no such run, or of none any more. */
    this.isGone = false;
    this.forget();
  }

  forget() {
    this.last = undefined;
    this.intervals = [];
    /** Up to this one no late reports are expected any more; and the first of which they are, with how often it was asked for. */
    this.closed = 0;
    this.open = { asked: 0 };
    /** Whether the newest interval that is not under way had all ranks. */
    this.wasWhole = true;
    this.hasEarlier = false;
    this.loads = [];
    this.events = [];
    this.plans = [];
    this.workers = [];
    this.timings = undefined;
    this.placements = new Map();
  }

  get(what, parameters) {
    return get(what ? `${this.path}/${what}` : this.path, parameters, this.signal);
  }

  /** Fetches what is not as it was before the change, or all. */
  async update(change) {
    const started = performance.now();
    await this.loadRun();
    const before = this.last ?? {};
    const all = change === undefined || !this.last;
    const differs = key => all || change[key] !== before[key];
    const reported = differs('reports') || differs('step') || differs('reported_at');
    const planned = differs('plans') || differs('plan_revision');
    const jobs = [];
    if (reported) jobs.push(this.loadIntervals(), this.loadLoads(change?.reports - before.reports), this.loadWorkers());
    if (reported && this.summary.reported_at) jobs.push(this.loadTimings());
    if (planned) jobs.push(this.loadPlans());
    if (differs('events')) jobs.push(this.loadEvents());
    await Promise.all(jobs);
    if (change) this.last = change;
    // Large answers are asked for less often: a tenth of the time at most.
    await sleep(Math.min(10_000, (performance.now() - started) * 9), this.signal);
  }

  async loadRun() {
    const { summary, model, configuration, reason, ownership, host } = await this.get('');
    // Another run with the name of one that was deleted: nothing of that is its past.
    if (this.summary && this.summary.created_at !== summary.created_at) this.forget();
    Object.assign(this, { summary, model, configuration, reason, ownership, host });
    this.changed('run');
  }

  /** Those after the last that is not half there any more; at first the newest, so that they are seen at once. */
  async loadIntervals() {
    if (!this.hasEarlier) {
      const newest = await this.get('intervals');
      this.intervals = newest.intervals;
      this.changed('intervals');
      const oldest = this.intervals[0]?.number ?? 0;
      if (oldest > 1) await this.loadEarlier(Math.max(0, oldest - intervalBudget * this.summary.world_size), oldest);
      this.hasEarlier = this.intervals.length > 0;
      return;
    }
    await this.page('intervals', this.intervals, this.intervals.at(this.firstOpen - 1)?.number ?? 0);
    this.intervals.splice(0, this.intervals.length - intervalBudget);
    this.lookForLate();
    this.changed('intervals');
  }

  /** Where the intervals begin, counted from the end, of which reports may still come: the last two, and more when ranks are late. */
  get firstOpen() {
    const late = this.intervals.slice(-lateReports);
    const first = late.findIndex(interval => interval.number > this.closed && this.lacksRanks(interval));
    return first < 0 ? -2 : Math.min(-2, first - late.length);
  }

  lacksRanks({ incarnation, ranks }) {
    return incarnation === this.summary.incarnation && ranks < this.summary.world_size;
  }

  /** A rank may never report, or have dropped reports: then the same intervals would be fetched for ever. */
  lookForLate() {
    const { number, ranks } = this.intervals.at(this.firstOpen) ?? {};
    const isSame = number === this.open.number && ranks === this.open.ranks;
    // The last two may lack ranks because these are about to report.
    const newest = this.intervals.at(-3);
    const isWhole = newest !== undefined && !this.lacksRanks(newest);
    this.open = { number, ranks, asked: isSame ? this.open.asked + 1 : 0 };
    if (this.open.asked >= patience) this.closed = newest?.number ?? 0;
    else if (isWhole && !this.wasWhole) this.closed = 0;
    this.wasWhole = isWhole;
  }

  /** Numbers are those of reports, of all ranks. */
  async loadEarlier(after, until) {
    const earlier = [];
    for (let last = after; ;) {
      const { intervals, truncated } = await this.get('intervals', { after: last });
      earlier.push(...intervals.filter(({ number }) => number < until));
      if (!truncated || intervals.length === 0 || intervals.at(-1).number >= until - 1) break;
      last = intervals.at(-1).number;
    }
    this.intervals.unshift(...earlier);
    this.changed('intervals');
  }

  /** `missed` is how many reports have come since; NaN when that is not known. */
  async loadLoads(missed) {
    const kept = Math.max(1, Math.min(loadedIntervals, Math.floor(loadBudget / Math.max(1, this.summary.experts))));
    // Of what came in a long time without news most would be fetched for nothing.
    const isFar = missed > kept * this.summary.world_size;
    if (this.loads.length === 0 || isFar || kept < 3) this.loads = (await this.get('loads', { limit: kept })).loads;
    else await this.page('loads', this.loads, this.loads.at(-2)?.number ?? 0);
    this.loads.splice(0, this.loads.length - kept);
    this.changed('loads');
  }

  async loadEvents() {
    if (this.events.length === 0) this.events = (await this.get('events')).events;
    else await this.page('events', this.events, this.events.at(-1).number);
    this.changed('events');
  }

  /** Everything after a number, in the place of what `kept` had of it. */
  async page(what, kept, after) {
    let last = after;
    const found = [];
    for (; ;) {
      const answer = await this.get(what, { after: last });
      found.push(...answer[what]);
      if (!answer.truncated || answer[what].length === 0) break;
      last = answer[what].at(-1).number;
    }
    while (kept.length && kept.at(-1).number > after) kept.pop();
    kept.push(...found);
  }

  async loadTimings() {
    try {
      this.timings = await this.get('timings');
    } catch (error) {
      // They are kept for a while only.
      if (error.status !== 404) throw error;
      this.timings = undefined;
    }
    this.changed('timings');
  }

  async loadWorkers() {
    ({ workers: this.workers } = await this.get('workers'));
    this.changed('workers');
  }

  async loadPlans() {
    const { plans, frozen, pinned, truncated } = await this.get('plans');
    Object.assign(this, { plans, frozen, pinned, plansTruncated: truncated });
    this.changed('plans');
  }

  /** A plan's placement of a layer, or of all. */
  async placement(revision, layer) {
    const key = `${revision}:${layer ?? 'all'}`;
    if (!this.placements.has(key)) {
      const { plan } = await this.get('placement', { revision, layer });
      if (this.placements.size > 16) this.placements.clear();
      this.placements.set(key, plan);
    }
    return this.placements.get(key);
  }

  /** Intervals without one that ranks are still to report. */
  get wholeIntervals() {
    const { intervals, summary } = this;
    const isPending = summary.state === 'running' && intervals.length > 1 && intervals.at(-1).ranks < summary.world_size;
    return isPending ? intervals.slice(0, -1) : intervals;
  }

  get activePlan() {
    return this.plans.find(({ state }) => state === 'active');
  }

  /** The plan that was active before the active one. */
  get previousPlan() {
    return this.plans.filter(({ state, activated_at }) => state === 'superseded' && activated_at)
      .reduce((newest, plan) => (newest && newest.activated_at > plan.activated_at ? newest : plan), undefined);
  }

  /** The plan whose switch, while training, was the last. */
  get lastReplacement() {
    return this.plans.filter(plan => isReplacement(plan) && plan.activated_at)
      .reduce((newest, plan) => (newest && newest.activated_at > plan.activated_at ? newest : plan), undefined);
  }

  /** Seconds in which a report usually comes. */
  get usualGap() {
    const times = this.intervals.slice(-20).map(({ received_at }) => Date.parse(received_at));
    const gaps = times.slice(1).map((time, index) => (time - times[index]) / 1000).sort((a, b) => a - b);
    return gaps.length ? gaps[gaps.length >> 1] : undefined;
  }
}

export const isInFlight = ({ state }) => ['proposed', 'accepted', 'applying'].includes(state);

/** Whether ranks switched to it while they trained: other plans came with a start of the run. */
export const isReplacement = ({ accepted_step, state }) =>
  accepted_step > 0 && ['applying', 'active', 'superseded'].includes(state);

export const lastStep = ({ first_step, step_count }) => first_step + Math.max(1, step_count) - 1;
