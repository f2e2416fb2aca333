// The page: which run is shown, and how the connection is.

import { dropToken, get, hasToken, keepToken, now, Refused, TokenNeeded } from './api.js';
import { h, say } from './dom.js';
import { clock, count, day, duration, isToday, loss, moment, plural } from './format.js';
import { Feed, follow, newest, sleep } from './feed.js';
import { onScheme } from './colours.js';
import { glance } from './glance.js';
import { training } from './training.js';
import { loads } from './loads.js';
import { placement } from './placement.js';
import { phases } from './phases.js';
import { events, plans, workers } from './lists.js';

const element = id => document.getElementById(id);
const connection = element('connection');

/** Shared by the sections: the layer that is looked at. */
const view = {
  layer: undefined,
  choose(layer) {
    this.layer = layer;
    draw('run');
  },
};

const sections = {
  glance: glance(element('glance')), training: training(element('training')), loads: loads(element('loads'), view),
  placement: placement(element('placement'), view), phases: phases(element('phases')), plans: plans(element('plans')),
  workers: workers(element('workers')), events: events(element('events')),
};

let feed, stop = new AbortController(), runs = [], lostSince;
const waiting = new Set();

/** Draws the sections that show what changed, one a frame, so that none keeps keys and pointer waiting. */
function draw(what) {
  const isIdle = waiting.size === 0;
  for (const [name, section] of Object.entries(sections)) if (section.needs.includes(what)) waiting.add(name);
  if (isIdle && waiting.size) requestAnimationFrame(drawNext);
  if (what === 'run' || what === 'intervals') showTitle();
}

/** A section that fails takes none of the others along: whatever it throws, at once or later, is reported. */
function drawNext() {
  const [name] = waiting;
  waiting.delete(name);
  if (waiting.size) requestAnimationFrame(drawNext);
  if (!feed?.summary) return;
  // Another run may have come under the name.
  if (view.layer >= feed.summary.layers) view.layer = undefined;
  (async () => sections[name].update(feed))().catch(report);
}

function report(error) {
  if (error.name === 'AbortError') return;
  if (error instanceof TokenNeeded) return askForToken();
  if (error instanceof Refused) showProblem(error.message);
  else if (!(error instanceof TypeError && /fetch|network/i.test(error.message))) console.error(error);
}

function showProblem(text) {
  element('problem').hidden = !text;
  say(element('problem'), text ?? '');
}

function showTitle() {
  if (!feed?.summary) return;
  const { summary } = feed;
  element('run').hidden = false;
  document.title = `${summary.run} · moe`;
  say(element('run-name'), summary.run);
  const took = duration(((summary.finished_at ? Date.parse(summary.finished_at) : now()) - Date.parse(summary.started_at)) / 1000);
  const ended = summary.finished_at ? ` at ${moment(summary.finished_at)} after ${took}${feed.reason ? ` (${feed.reason})` : ''}` : ` for ${took}`;
  element('run-facts').replaceChildren(h('span', { className: `state ${summary.state}` }, summary.state), ended, ' · ',
    `${plural(summary.world_size, 'rank')} · ${plural(summary.layers, 'layer')}, ${plural(summary.experts, 'expert')} · ${summary.allocator} · plan ${summary.plan_revision}`,
    summary.incarnation > 1 ? ` · start ${summary.incarnation}` : '');
  showAge();
}

/** Tens of seconds, then minutes: a screen reader is told once in a while, not every second. */
const coarse = age => (age > 90 ? Math.floor(age / 60) * 60 : Math.floor(age / 10) * 10);

/** Whether reports come as they should, in words. */
function showAge() {
  if (!feed?.summary) return;
  const { summary, usualGap } = feed;
  feed.staleAfter = Math.max(10, 4 * (usualGap ?? 5));
  const age = (now() - Date.parse(summary.reported_at ?? summary.started_at)) / 1000;
  const line = element('stale');
  const isLate = summary.state === 'running' && age > feed.staleAfter;
  const isEmpty = !summary.reported_at;
  // Intervals come with rank 0's reports; others' keep the run from being stale.
  const newest = feed.intervals.at(-1)?.received_at;
  const silence = newest === undefined ? 0 : (now() - Date.parse(newest)) / 1000;
  const isHeadless = summary.state === 'running' && !isLate && silence > feed.staleAfter;
  line.hidden = !isLate && !isEmpty && !isHeadless;
  line.className = `notice ${isLate || isHeadless ? 'warn' : ''}`;
  const text = isHeadless
    ? `Rank 0 has been silent for ${duration(coarse(silence))}, while others report. Loss, loads and balance below are from ${moment(newest)}.`
    : isEmpty
    ? summary.state !== 'running' ? 'This run ended before its first report.'
      : `No reports yet: the ranks registered ${duration(coarse(age))} ago.${isLate ? ' If none comes, the job’s own log may say why.' : ''}`
    : `Stale: no report for ${duration(coarse(age))}` +
      `${usualGap ? `, where one usually comes every ${duration(Math.max(1, usualGap))}` : ''}. What is below is from ${moment(summary.reported_at)}.`;
  if (!line.hidden) say(line, text);
  element('run').classList.toggle('stale', isLate);
}

/** Live updates are on, polled for, lost, or refused; or the run that they would be of is waited for. */
function showConnection(status, error) {
  if (status === 'refused') {
    if (error instanceof TokenNeeded) return askForToken();
    showProblem(error.message);
  }
  if (status === 'lost') lostSince ??= new Date();
  else if (lostSince !== undefined) {
    lostSince = undefined;
    loadRuns().catch(report);
  }
  document.body.classList.toggle('lost', status === 'lost');
  connection.className = `connection ${status}`;
  say(connection, {
    live: 'Live', polling: 'Too many live viewers: updated every 10 seconds', refused: 'Not live',
    waiting: 'There is no such run: waiting for it',
    lost: error instanceof Refused ? `The coordinator cannot tell since ${clock(lostSince)}: ${error.message}. Trying again …`
      : `Disconnected from the coordinator since ${clock(lostSince ?? new Date())}. Trying again …`,
  }[status]);
}

function askForToken() {
  stop.abort();
  say(element('token-refused'), hasToken() ? 'The coordinator does not take this token.' : '');
  dropToken();
  say(connection, 'A token is needed');
  element('run').hidden = true;
  element('token-form').hidden = false;
  document.body.classList.add('locked');
  element('token').focus();
}

element('token-form').addEventListener('submit', event => {
  event.preventDefault();
  const given = element('token').value.trim();
  // Others cannot stand in a header.
  if (!/^[\x21-\x7e]+$/.test(given)) return say(element('token-refused'), 'A token has visible ASCII characters alone.');
  keepToken(given);
  element('token').value = '';
  element('token-form').hidden = true;
  document.body.classList.remove('locked');
  start();
});

const heard = run => run.reported_at ?? run.started_at;

/** Links to runs by name. They stay, so that one that has the keyboard keeps it. */
let links = new Map();

function showRuns() {
  say(element('run-count'), runs.length ? count(runs.length) : '');
  element('nothing').hidden = runs.length > 0;
  document.body.classList.toggle('no-runs', runs.length === 0);
  const chosen = feed?.run;
  links = new Map(runs.map(({ run }) => [run, links.get(run) ?? h('a', { href: `#/${encodeURIComponent(run)}` })]));
  for (const run of runs) {
    const link = links.get(run.run);
    if (run.run === chosen) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
    link.replaceChildren(h('b', {}, run.run), h('span', { className: `state ${run.state}` }, run.state),
      h('span', { className: 'note' }, isToday(heard(run)) ? clock(heard(run)) : day(heard(run))),
      h('span', { className: 'note' }, run.step === undefined ? 'no report yet' : `step ${count(run.step)}${run.loss === undefined ? '' : `, loss ${loss(run.loss)}`}`));
  }
  const list = element('run-list'), order = [...links.values()];
  if (list.children.length !== order.length || order.some((link, index) => list.children[index].firstChild !== link)) {
    list.replaceChildren(...order.map(link => h('li', {}, link)));
  }
}

async function loadRuns() {
  ({ runs } = await get('runs'));
  showRuns();
}

/** The name in the address; as it stands when somebody mistyped it. */
function chosenRun() {
  if (!location.hash.startsWith('#/')) return undefined;
  const name = location.hash.slice(2);
  try {
    return decodeURIComponent(name);
  } catch {
    return name;
  }
}

/** Ends what is followed. */
function anew() {
  stop.abort();
  stop = new AbortController();
  return stop.signal;
}

/** Follows the list of runs until one has that name, or until there is any. */
function waitFor(run) {
  const signal = anew();
  if (run === undefined) {
    feed = undefined;
    element('run').hidden = true;
  }
  const isThere = () => (run === undefined ? runs.length > 0 : runs.some(it => it.run === run));
  return follow('live', signal, newest(async () => {
    await loadRuns();
    if (isThere()) start();
  }, signal, report), (status, error) => showConnection(status === 'live' && run !== undefined ? 'waiting' : status, error));
}

/** Follows the run that the address names, else the newest; waits for it when there is none. */
async function start() {
  const signal = anew();
  try {
    await loadRuns();
  } catch (error) {
    if (error instanceof TokenNeeded) return askForToken();
    if (signal.aborted) return;
    showConnection('lost', error);
    await sleep(2000, signal);
    return signal.aborted ? undefined : start();
  }
  if (signal.aborted) return;
  showProblem();
  const run = chosenRun() ?? runs[0]?.run;
  if (run === undefined) return waitFor();
  if (feed?.run === run && !feed.isGone) feed.signal = signal;
  else {
    view.layer = undefined;
    element('run').hidden = true;
    feed = new Feed(run, signal, draw);
  }
  showRuns();
  let state, isRefused = false;
  const own = feed;
  await follow(`${feed.path}/live`, signal, newest(async change => {
    await own.update(change);
    showProblem();
    if (change?.state !== state) await loadRuns();
    state = change?.state;
  }, signal, report), (status, error) => {
    isRefused = status === 'refused' && error.status !== 404;
    showConnection(status, error);
  });
  // Whatever stands between refuses, it does so again.
  if (signal.aborted || isRefused) return;
  // What is shown stays until there is another run of the name, of which nothing of it is the past.
  own.isGone = true;
  await waitFor(chosenRun());
}

addEventListener('hashchange', () => { if (location.hash.startsWith('#/') || !location.hash) start(); });
document.querySelector('nav').addEventListener('click', event => {
  // On a narrow page the list of runs makes room for the run.
  if (event.target.closest('a') && narrow.matches) element('runs').open = false;
});
document.querySelector('.skip').addEventListener('click', event => {
  event.preventDefault();
  element('main').focus();
});
// A page that nobody sees needs no updates, and takes none of the browser's few connections to a host.
document.addEventListener('visibilitychange', () => (document.hidden ? stop.abort() : start()));
const narrow = matchMedia('(max-width: 60rem)');
const foldRuns = () => { element('runs').open = !narrow.matches; };
narrow.addEventListener('change', foldRuns);
foldRuns();
onScheme(() => draw('run'));
say(element('host'), location.host);
setInterval(() => {
  if (document.hidden) return;
  showAge();
  if (feed?.summary?.state === 'running') sections.workers.tick();
}, 10_000);
setInterval(() => { if (!document.hidden && lostSince === undefined && feed) loadRuns().catch(() => {}); }, 10_000);

start();
