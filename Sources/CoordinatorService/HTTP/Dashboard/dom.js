// Elements, tables that grow on demand, and the tooltip.

/** An element. Properties are set as such; those with a dash, and of `attributes`, as attributes. */
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined) continue;
    if (name.includes('-') || name === 'role' || name === 'colspan') element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children);
  return element;
}

export function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS('http://www.w3.org/2000/svg', tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** Changes the text only when it is another one, so that a screen reader does not repeat itself. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** A time that people read locally, and programs in UTC. */
export function timeElement(stamp, text) {
  return h('time', { dateTime: stamp, title: stamp }, text);
}

const firstRows = 100;

/** A table with the first rows, and a button for more. Columns are [title, cell(row), is a number]. */
export function table(caption, columns, rows, shown = firstRows) {
  const body = h('tbody');
  const more = h('button', { type: 'button' });
  const add = count => {
    const from = body.rows.length;
    for (const row of rows.slice(from, from + count)) {
      const line = body.insertRow();
      columns.forEach(([, cell, isNumber], index) => {
        const made = cell(row);
        line.append(h(index ? 'td' : 'th', { className: isNumber ? 'number' : '', scope: index ? undefined : 'row' }, made ?? '–'));
      });
    }
    const left = rows.length - body.rows.length;
    more.hidden = left <= 0;
    more.textContent = `Show ${Math.min(left, firstRows)} more of ${rows.length}`;
  };
  more.addEventListener('click', () => add(firstRows));
  const head = h('tr', {}, ...columns.map(([title, , isNumber]) =>
    h('th', { scope: 'col', className: isNumber ? 'number' : '' }, title)));
  const made = h('table', {}, h('caption', {}, caption), h('thead', {}, head), body);
  add(shown);
  made.rowsShown = () => body.rows.length;
  return [made, more];
}

/** Fills a `details` while it is open: `make` gives the nodes. Keeps how many rows were asked for. */
export function tableOnDemand(details, make) {
  const summary = details.querySelector('summary');
  const holder = h('div', { className: 'scroll', tabIndex: 0, role: 'region', 'aria-label': summary.textContent });
  details.append(holder);
  const fill = () => {
    if (!details.open) return;
    const kept = holder.querySelector('table')?.rowsShown?.() ?? firstRows;
    holder.replaceChildren(...make(Math.max(kept, firstRows)));
  };
  details.addEventListener('toggle', fill);
  return fill;
}

const tip = document.getElementById('tooltip');

/** Shows lines beside a point of the window; the first is the title. */
export function showTip(lines, x, y) {
  tip.replaceChildren(...lines.map((line, index) => h(index ? 'div' : 'b', {}, line)));
  tip.hidden = false;
  const { width, height } = tip.getBoundingClientRect();
  const left = x + 14 + width > innerWidth ? x - 14 - width : x + 14;
  tip.style.left = `${Math.max(4, Math.min(left, innerWidth - width - 4))}px`;
  tip.style.top = `${Math.max(4, Math.min(y + 14, innerHeight - height - 4))}px`;
}

export function hideTip() {
  tip.hidden = true;
}

addEventListener('keydown', event => { if (event.key === 'Escape') hideTip(); });
addEventListener('scroll', hideTip, { passive: true });

/** Calls `draw` now and whenever the element's width changes. */
export function onWidth(element, draw) {
  let width = element.clientWidth;
  new ResizeObserver(() => {
    if (element.clientWidth === width) return;
    width = element.clientWidth;
    draw();
  }).observe(element);
}
