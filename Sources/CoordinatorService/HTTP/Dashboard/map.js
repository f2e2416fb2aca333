// A map of rows and columns on a canvas, with a cursor for pointer and keys. What the cursor is at is said below it.

import { h, say, onWidth, showTip, hideTip } from './dom.js';
import { colour, onScheme } from './colours.js';
import { ticks } from './format.js';

export const font = size => `${size}px ${getComputedStyle(document.body).fontFamily}`;

/** A canvas of a size in CSS pixels, sharp on any screen. */
export function prepare(canvas, width, height) {
  const scale = devicePixelRatio || 1;
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round(height * scale);
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
  const context = canvas.getContext('2d');
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.clearRect(0, 0, width, height);
  return context;
}

export class Map2D {
  constructor(root, label, hint) {
    this.root = root;
    this.canvas = h('canvas', { 'aria-hidden': 'true' });
    this.cursor = h('div', { className: 'cell-cursor', hidden: true });
    this.readout = h('output', { className: 'readout', id: `${root.parentElement.id}-readout` });
    this.hint = hint;
    this.body = h('div', {
      className: 'map', tabIndex: 0, role: 'application', 'aria-roledescription': 'map', 'aria-label': label,
      'aria-describedby': this.readout.id,
    }, this.canvas, this.cursor);
    this.readout.setAttribute('aria-live', 'polite');
    say(this.readout, hint);
    root.append(this.body, this.readout);
    this.body.addEventListener('pointermove', event => this.point(event));
    this.body.addEventListener('pointerdown', event => this.point(event));
    this.body.addEventListener('pointerleave', () => this.leave());
    this.body.addEventListener('click', event => { if (this.point(event)) this.frame.select?.(...this.at); });
    this.body.addEventListener('keydown', event => this.key(event));
    this.body.addEventListener('focus', () => {
      if (this.hasCells && this.body.matches(':focus-visible')) this.move(...(this.at ?? [0, 0]), true);
    });
    this.body.addEventListener('blur', () => this.leave());
    onWidth(root, () => this.draw());
    onScheme(() => this.draw());
  }

  /**
   * Frames are { rows, columns, groups: [{ start, label }], rowLabel(row), rowTitle, rowHeight, margin (to the right),
   * paint(context, geometry), describe(row, column) → [lines], select(row, column) }. Where columns differ from row to row,
   * `spans(row)` tells where they begin and end, from 0 to 1, and `axis` { most, format } what 1 is.
   */
  update(frame) {
    this.frame = frame;
    if (this.at && (this.at[0] >= frame.rows || this.at[1] >= frame.columns)) {
      this.at = undefined;
      this.cursor.hidden = true;
    }
    this.draw();
  }

  draw() {
    const { frame } = this;
    const width = this.root.clientWidth;
    if (!frame || !width) return;
    const groups = frame.groups ?? [{ start: 0 }];
    const probe = this.canvas.getContext('2d');
    probe.font = font(11);
    const labels = [frame.rowTitle ?? '', frame.rowLabel(0), frame.rowLabel(frame.rows - 1), frame.rowLabel(frame.rows >> 1)];
    const left = Math.ceil(Math.max(...labels.map(label => probe.measureText(label).width))) + 8;
    const top = groups.length > 1 ? 34 : 20;
    const gap = groups.length > 1 ? Math.min(8, Math.max(2, width / frame.columns / 4)) : 0;
    const cell = (width - left - (frame.margin ?? 0) - gap * (groups.length - 1)) / Math.max(1, frame.columns);
    const starts = new Float64Array(frame.columns + 1);
    let group = 0;
    for (let column = 0; column <= frame.columns; column += 1) {
      while (group + 1 < groups.length && groups[group + 1].start <= column) group += 1;
      starts[column] = left + column * cell + group * gap;
    }
    const row = frame.rowHeight;
    const geometry = this.geometry = {
      left, top, cell, row, width, starts, bottom: top + row * frame.rows, x: column => starts[column], y: index => top + index * row,
      span: part => left + part * (width - left - (frame.margin ?? 0)),
      // Cells so large that one sees them have lines between.
      line: Math.min(cell, row) >= 5 ? 1 : 0,
    };
    const context = prepare(this.canvas, width, geometry.bottom + 2);
    frame.paint(context, geometry);
    this.drawLabels(context, frame, groups, geometry);
    if (!this.cursor.hidden && this.at) this.place();
  }

  /** Whether there is anything that the cursor can be at: not before the first drawing, nor in a layer without experts. */
  get hasCells() {
    return this.geometry !== undefined && this.frame.rows > 0 && this.frame.columns > 0;
  }

  /** Where a cell begins, and how wide it is. */
  extent(row, column) {
    const { x, cell, span } = this.geometry;
    if (!this.frame.spans) return [x(column), cell];
    const [from, to] = this.frame.spans(row)[column];
    return [span(from), span(to) - span(from)];
  }

  drawLabels(context, frame, groups, { left, top, cell, row, x, y, span }) {
    context.font = font(11);
    context.fillStyle = colour('soft');
    context.textBaseline = 'middle';
    context.textAlign = 'right';
    const everyRow = [1, 2, 5, 10, 20, 50, 100, 200].find(step => step * row >= 14) ?? 500;
    for (let index = 0; index < frame.rows; index += everyRow) context.fillText(frame.rowLabel(index), left - 6, y(index) + row / 2);
    context.textBaseline = 'alphabetic';
    if (frame.rowTitle) context.fillText(frame.rowTitle, left - 6, top - 6);
    if (frame.axis) {
      const { most, format } = frame.axis;
      const room = span(1) - left;
      for (const tick of ticks(0, most, room / 110)) {
        const at = span(tick / most);
        context.textAlign = tick === 0 ? 'left' : at > span(1) - 20 ? 'right' : 'center';
        context.fillText(format(tick), at, top - 6);
        context.fillRect(Math.round(at), top - 3, 1, 3);
      }
      return;
    }
    context.textAlign = 'left';
    for (const { start, label } of groups) if (label) context.fillText(label, x(start), 11);
    const widest = context.measureText(String(frame.columns - 1)).width + 5;
    const everyColumn = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024].find(step => step * cell >= widest) ?? 4096;
    context.textAlign = 'center';
    groups.forEach(({ start }, index) => {
      const end = groups[index + 1]?.start ?? frame.columns;
      for (let column = 0; start + column < end; column += everyColumn) {
        context.fillText(String(column), x(start + column) + Math.max(cell, 8) / 2, top - 6);
      }
    });
  }

  cellAt(event) {
    if (!this.hasCells) return;
    const box = this.canvas.getBoundingClientRect();
    const { starts, cell, row, top } = this.geometry;
    const x = event.clientX - box.left, index = Math.floor((event.clientY - box.top - top) / row);
    if (index < 0 || index >= this.frame.rows) return;
    if (this.frame.spans) {
      const part = (x - this.geometry.left) / (this.geometry.span(1) - this.geometry.left);
      const found = this.frame.spans(index).findIndex(([from, to]) => part >= from && part < to);
      return found < 0 ? undefined : [index, found];
    }
    let low = 0, high = this.frame.columns - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (starts[middle] <= x) low = middle; else high = middle - 1;
    }
    // The margin to the right belongs to the row.
    if (x < starts[0] || (x > starts[low] + cell + 8 && low < this.frame.columns - 1)) return;
    return [index, low];
  }

  point(event) {
    const at = this.cellAt(event);
    if (!at) { this.leave(); return false; }
    this.move(...at, false);
    showTip(this.frame.describe(...at), event.clientX, event.clientY);
    return true;
  }

  key(event) {
    if (!this.hasCells) return;
    const [row, column] = this.at ?? [0, 0];
    const { rows, columns } = this.frame;
    const next = {
      ArrowLeft: [row, column - 1], ArrowRight: [row, column + 1], ArrowUp: [row - 1, column], ArrowDown: [row + 1, column],
      Home: event.ctrlKey ? [0, 0] : [row, 0], End: event.ctrlKey ? [rows - 1, columns - 1] : [row, columns - 1],
      PageUp: [row - 10, column], PageDown: [row + 10, column],
    }[event.key];
    if (next) {
      event.preventDefault();
      this.move(Math.max(0, Math.min(rows - 1, next[0])), Math.max(0, Math.min(columns - 1, next[1])), true);
    } else if ((event.key === 'Enter' || event.key === ' ') && this.at && this.frame.select) {
      event.preventDefault();
      this.frame.select(...this.at);
    }
  }

  move(row, column, isKey) {
    this.at = [row, column];
    this.cursor.hidden = false;
    this.place();
    const lines = this.frame.describe(row, column);
    if (!isKey) return;
    say(this.readout, lines.join(' · '));
    const box = this.cursor.getBoundingClientRect();
    showTip(lines, box.right, box.bottom);
  }

  place() {
    const { y, row } = this.geometry;
    const [x, cell] = this.extent(...this.at);
    const style = this.cursor.style;
    style.left = `${x - 2}px`;
    style.top = `${y(this.at[0]) - 2}px`;
    style.width = `${Math.max(cell, 3) + 4}px`;
    style.height = `${Math.max(row, 3) + 4}px`;
  }

  leave() {
    hideTip();
    if (document.activeElement === this.body && this.body.matches(':focus-visible')) return;
    this.cursor.hidden = true;
    say(this.readout, this.hint);
  }
}

/** A strip of the scale of amounts, from 0 to `most` and more, with its numbers. */
export function scaleLegend(root, shade, most, label) {
  const canvas = h('canvas', { 'aria-hidden': 'true' });
  root.replaceChildren(h('span', {}, label), h('span', {}, '0×'), canvas, h('span', {}, `${most}× and more`));
  const context = prepare(canvas, 120, 10);
  for (let x = 0; x < 120; x += 1) {
    context.fillStyle = shade(x / 119);
    context.fillRect(x, 0, 1, 10);
  }
}
