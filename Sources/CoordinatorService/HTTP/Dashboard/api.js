// The coordinator's HTTP API: JSON answers, and a stream of changes.

const tokenKey = 'moe-token';

/** The API needs a token, or another one. */
export class TokenNeeded extends Error {}

/** The coordinator answered, and refused. */
export class Refused extends Error {
  constructor(status, code, message) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

export const hasToken = () => sessionStorage.getItem(tokenKey) !== null;
export const keepToken = token => sessionStorage.setItem(tokenKey, token);
export const dropToken = () => sessionStorage.removeItem(tokenKey);

/** By how much the coordinator's clock is ahead of this one's, in milliseconds. */
let clockAhead = 0;

/** The coordinator's time. */
export const now = () => Date.now() + clockAhead;

async function request(path, signal, accept) {
  const token = sessionStorage.getItem(tokenKey);
  const headers = { Accept: accept, ...(token !== null && { Authorization: `Bearer ${token}` }) };
  const response = await fetch(`api/v1/${path}`, { headers, signal, cache: 'no-store' });
  const date = Date.parse(response.headers.get('Date'));
  // The header has whole seconds: less than two are no difference.
  if (!Number.isNaN(date)) clockAhead = Math.abs(date - Date.now()) < 2000 ? 0 : date - Date.now();
  if (response.status === 401) throw new TokenNeeded();
  if (!response.ok) {
    const error = await response.json().catch(() => ({}));
    throw new Refused(response.status, error.code ?? 'unknown', error.message ?? `HTTP ${response.status}`);
  }
  return response;
}

export async function get(path, parameters = {}, signal) {
  const query = new URLSearchParams(Object.entries(parameters).filter(([, value]) => value !== undefined));
  return (await request(query.size ? `${path}?${query}` : path, signal, 'application/json')).json();
}

/** The coordinator writes something every 15 seconds; after so long without, the connection is dead. */
const silence = 40_000;

/** Server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html) by fetch, which can send a token. */
export async function* changes(path, signal) {
  const abort = new AbortController();
  const end = () => abort.abort();
  signal.addEventListener('abort', end);
  let timer = setTimeout(end, silence);
  try {
    const response = await request(path, abort.signal, 'text/event-stream');
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let text = ''; ;) {
      const { value, done } = await reader.read();
      if (done) return;
      clearTimeout(timer);
      timer = setTimeout(end, silence);
      const messages = (text + value).split(/\r?\n\r?\n/);
      text = messages.pop();
      for (const message of messages) {
        const data = message.split(/\r?\n/).filter(line => line.startsWith('data:')).map(line => line.slice(5)).join('\n');
        if (data) yield JSON.parse(data);
      }
    }
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', end);
    abort.abort();
  }
}
