// Line charts one above the other over the same steps, with one cursor for all.

import { h, svg, say, onWidth, showTip, hideTip } from './dom.js';
import { count, ticks } from './format.js';

const left = 52, right = 14;

/** The lowest and highest point of each pixel: what more points would draw. */
function thin(points, x) {
  if (points.length < 1500) return points;
  const kept = [];
  for (let start = 0; start < points.length;) {
    const pixel = Math.round(x(points[start].x));
    let end = start, low = start, high = start;
    while (end < points.length && Math.round(x(points[end].x)) === pixel && points[end].part === points[start].part) {
      if (points[end].y < points[low].y) low = end;
      if (points[end].y > points[high].y) high = end;
      end += 1;
    }
    kept.push(...[...new Set([start, Math.min(low, high), Math.max(low, high), end - 1])].map(index => points[index]));
    start = end;
  }
  return kept;
}

export class LineCharts {
  /** Charts are { title, note, height, value(item), domain(values), format and full(value) → text, extra(x, y, [low, high]) → nodes }. */
  constructor(root, label, charts) {
    this.root = root;
    this.charts = charts;
    this.body = h('div', {
      className: 'lines', tabIndex: 0, role: 'slider', 'aria-label': label, 'aria-orientation': 'horizontal',
      'aria-valuemin': 0, 'aria-valuemax': 0, 'aria-valuenow': 0, 'aria-valuetext': 'nothing yet',
    });
    root.append(this.body);
    for (const chart of charts) {
      chart.readout = h('span', { className: 'value' });
      chart.svg = svg('svg', { 'aria-hidden': 'true' });
      this.body.append(h('div', { className: 'line-title' }, h('h3', {}, chart.title), chart.readout,
        h('span', { className: 'note' }, ...(chart.note ?? []))), chart.svg);
    }
    this.body.addEventListener('pointermove', event => this.point(event));
    this.body.addEventListener('pointerdown', event => this.point(event));
    this.body.addEventListener('pointerleave', () => this.release());
    this.body.addEventListener('blur', () => this.release());
    this.body.addEventListener('focus', () => this.move(this.at ?? (this.items?.length ?? 0) - 1, this.body.matches(':focus-visible')));
    this.body.addEventListener('keydown', event => this.key(event));
    onWidth(root, () => this.draw());
  }

  /** Items are { x, part, lines() → [text], … }; items of another part are not joined to those before. Marks are { x, label, isTaken }. */
  update(items, marks) {
    this.items = items;
    this.marks = marks;
    if (this.at !== undefined && this.at >= items.length) this.at = undefined;
    this.draw();
  }

  draw() {
    const { items } = this;
    const width = this.root.clientWidth;
    if (!items?.length || !width) return;
    // Restarts go back in steps, so the last item need not be the furthest.
    let low = Infinity, high = -Infinity;
    for (const { x } of items) { low = Math.min(low, x); high = Math.max(high, x); }
    this.low = items.length === 1 ? low - 1 : low;
    this.high = high;
    this.x = value => left + ((value - this.low) / (this.high - this.low || 1)) * (width - left - right);
    this.charts.forEach((chart, index) => this.drawChart(chart, width, index === 0, index === this.charts.length - 1));
    this.describe(items.length - 1);
    if (this.at !== undefined) this.move(this.at, false);
  }

  drawChart(chart, width, isFirst, isLast) {
    const { x } = this;
    // Numbers of plans stand above the first chart.
    const top = isFirst ? 20 : 6;
    const bottom = isLast ? 22 : 4;
    const height = chart.height + top + bottom;
    const points = this.items.map(item => ({ x: item.x, part: item.part, y: chart.value(item) })).filter(({ y }) => y !== undefined);
    const [low, high] = chart.domain(points.map(({ y }) => y));
    const y = chart.y = value => top + (1 - (Math.max(low, Math.min(high, value)) - low) / (high - low || 1)) * chart.height;
    const nodes = [];
    for (const tick of ticks(low, high, Math.max(2, chart.height / 32))) {
      nodes.push(svg('line', { class: 'grid', x1: left, x2: width - right, y1: y(tick), y2: y(tick) }),
        svg('text', { class: 'tick', x: left - 7, y: y(tick) + 4, 'text-anchor': 'end' }, chart.format(tick)));
    }
    if (isLast) {
      nodes.push(svg('text', { class: 'tick', x: left - 7, y: height - 5, 'text-anchor': 'end' }, 'step'));
      for (const tick of ticks(this.low, this.high, (width - left - right) / 80).filter(Number.isInteger)) {
        nodes.push(svg('text', { class: 'tick', x: x(tick), y: height - 5, 'text-anchor': 'middle' }, count(tick)));
      }
    }
    let label;
    for (const mark of this.marks) {
      if (mark.x < this.low || mark.x > this.high) continue;
      const at = x(mark.x), foot = top + chart.height;
      if (mark.isTaken) nodes.push(svg('line', { class: 'plan', x1: at, x2: at, y1: top, y2: foot }));
      else if (isLast) nodes.push(svg('path', { class: 'refused', d: `M${at - 3} ${foot - 3}l6 6m0 -6l-6 6` }));
      if (!isFirst || !mark.isTaken) continue;
      // Those without room share a label.
      if (label && at - label.at < 76) label.text.textContent = `plans ${label.first}–${mark.label}`;
      else {
        label = { at, first: mark.label, text: svg('text', { class: 'plan-number', x: at, y: top - 6, 'text-anchor': 'middle' }, `plan ${mark.label}`) };
        nodes.push(label.text);
      }
    }
    let path = '', part;
    for (const point of thin(points, x)) {
      path += `${point.part === part ? 'L' : 'M'}${x(point.x).toFixed(1)} ${y(point.y).toFixed(1)}`;
      part = point.part;
    }
    nodes.push(svg('path', { class: 'line', d: path }));
    if (points.length) nodes.push(svg('circle', { class: 'dot', r: 3, cx: x(points.at(-1).x), cy: y(points.at(-1).y) }));
    nodes.push(...(chart.extra?.(x, y, [this.low, this.high]) ?? []));
    chart.cursor = svg('g', { class: 'cursor', visibility: 'hidden' },
      svg('line', { y1: top, y2: top + chart.height }), svg('circle', { r: 4 }));
    nodes.push(chart.cursor);
    chart.svg.setAttribute('width', width);
    chart.svg.setAttribute('height', height);
    chart.svg.replaceChildren(...nodes);
  }

  point(event) {
    if (!this.items?.length || !this.x) return;
    const at = event.clientX - this.root.getBoundingClientRect().left;
    let nearest = 0, least = Infinity;
    this.items.forEach((item, index) => {
      const distance = Math.abs(this.x(item.x) - at);
      if (distance <= least) { nearest = index; least = distance; }
    });
    this.move(nearest, false);
    showTip(this.items[nearest].lines(), event.clientX, event.clientY);
  }

  key(event) {
    if (!this.items?.length) return;
    const last = this.items.length - 1;
    const at = this.at ?? last;
    const page = Math.max(1, Math.round(this.items.length / 10));
    const next = {
      ArrowLeft: at - 1, ArrowDown: at - 1, ArrowRight: at + 1, ArrowUp: at + 1,
      PageDown: at - page, PageUp: at + page, Home: 0, End: last,
    }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    this.move(Math.max(0, Math.min(last, next)), true);
  }

  /** Puts the cursor at an item. */
  move(at, isKey) {
    const item = this.items?.[at];
    if (!item || !this.x) return;
    this.at = at;
    for (const chart of this.charts) {
      const value = chart.value(item);
      const [line, dot] = chart.cursor.children;
      chart.cursor.setAttribute('visibility', 'visible');
      line.setAttribute('x1', this.x(item.x));
      line.setAttribute('x2', this.x(item.x));
      dot.setAttribute('visibility', value === undefined ? 'hidden' : 'inherit');
      dot.setAttribute('cx', this.x(item.x));
      dot.setAttribute('cy', chart.y(value ?? 0));
    }
    this.describe(at);
    if (isKey) {
      const box = this.root.getBoundingClientRect();
      showTip(item.lines(), box.left + this.x(item.x), Math.max(box.top, 0) + 20);
    }
  }

  release() {
    hideTip();
    if (document.activeElement === this.body && this.body.matches(':focus-visible')) return;
    this.at = undefined;
    for (const chart of this.charts) chart.cursor?.setAttribute('visibility', 'hidden');
    if (this.items?.length) this.describe(this.items.length - 1);
  }

  describe(at) {
    const item = this.items[at];
    for (const chart of this.charts) {
      const value = chart.value(item);
      say(chart.readout, value === undefined ? '–' : chart.full(value));
    }
    this.body.setAttribute('aria-valuemax', this.items.length - 1);
    this.body.setAttribute('aria-valuenow', at);
    this.body.setAttribute('aria-valuetext', item.lines().join(', '));
  }
}
