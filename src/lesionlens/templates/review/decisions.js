// What the reviewer decided: kept in the browser, exported and imported as CSV, summed up.

const LABELS = ['BCC', 'SCC', 'Normal', 'Other', 'Unusable'];
const [OTHER, UNUSABLE] = [3, 4];
const COLUMNS = ['uri', 'verdict', 'model_answer', 'risk', 'reviewer_label', 'agrees', 'reviewer',
  'time', 'note', 'job'];
const REVIEWER = 'lesionlens-reviewer';

// A decision: {label: index of LABELS or -1, reviewer, time: ISO, note}; never changed, replaced.
class Decisions {
  constructor(table, warn) {
    this.table = table;
    this.warn = warn;
    this.prefix = `lesionlens-review/${table.head.job}/`;
    this.rows = new Map();  // row -> decision
    this.others = new Map();  // name -> decision, of images that are not in this page
    this.undone = [];  // what was there before, for undo: [row, decision or undefined]
    this.n = 0;  // rows with a label
    this.load();
  }

  rowOf(name) {
    this.index ??= new Map(this.table.uri.map((uri, row) => [uri, row]));
    return this.index.get(name);
  }

  load() {
    try {
      for (let i = 0; i < localStorage.length; i += 1) {
        const key = localStorage.key(i);
        if (key.startsWith(this.prefix)) this.take(key.slice(this.prefix.length), localStorage.getItem(key));
      }
    } catch {
      this.warn('This browser keeps nothing for this page: export before you close it.');
    }
  }

  // Take over what is stored under a name; null: nothing any more.
  take(name, stored) {
    let decision;
    try {
      const [label, time, reviewer, note] = JSON.parse(stored ?? '[]');
      if (time) decision = {label, time, reviewer, note};
    } catch { /* not ours */ }
    const row = this.rowOf(name);
    if (row !== undefined) this.put(row, decision);
    else if (decision) this.others.set(name, decision);
    return row;
  }

  put(row, decision) {
    this.n += (decision?.label >= 0) - (this.labelOf(row) >= 0);
    if (decision) this.rows.set(row, decision);
    else this.rows.delete(row);
  }

  labelOf(row) { return this.rows.get(row)?.label ?? -1; }

  agrees(row) { return this.labelOf(row) === this.table.answer(row); }

  isIn(row, state) {
    const isDone = this.labelOf(row) >= 0;
    if (state === 'open') return !isDone;
    if (state === 'done') return isDone;
    if (state === 'noted') return Boolean(this.rows.get(row)?.note);
    return isDone && this.agrees(row) === (state === 'agreed');
  }

  set(row, change) {
    const before = this.rows.get(row);
    const decision = {
      label: -1, note: '', ...before, ...change, time: new Date().toISOString(),
      reviewer: this.reviewer,
    };
    this.undone.push([row, before]);
    this.put(row, decision.label < 0 && !decision.note ? undefined : decision);
    this.store(row);
  }

  undo() {
    const last = this.undone.pop();
    if (!last) return undefined;
    this.put(...last);
    this.store(last[0]);
    return last[0];
  }

  store(row) { this.keep(this.table.uri[row], this.rows.get(row)); }

  keep(name, decision) {
    try {
      if (!decision) localStorage.removeItem(this.prefix + name);
      else {
        const {label, time, reviewer, note} = decision;
        localStorage.setItem(this.prefix + name, JSON.stringify([label, time, reviewer, note]));
      }
    } catch {
      this.warn('This browser has no room left for what you decide: export now, or it is lost when the page is closed.');
    }
  }

  get reviewer() {
    this.name ??= attempt(() => localStorage.getItem(REVIEWER)) ?? '';
    return this.name;
  }

  set reviewer(name) {
    this.name = name;
    attempt(() => localStorage.setItem(REVIEWER, name));
  }

  csv() {
    const {table} = this;
    const lines = [COLUMNS];
    for (const row of [...this.rows.keys()].sort((a, b) => a - b)) {
      const {label, reviewer, time, note} = this.rows.get(row);
      const agrees = label < 0 ? '' : this.agrees(row) ? 'yes' : 'no';
      lines.push([table.uri[row], table.head.verdicts[table.verdict[row]], LABELS[table.answer(row)],
        table.risk[row].toFixed(6), LABELS[label] ?? '', agrees, reviewer, time, note, table.head.job]);
    }
    for (const [name, {label, reviewer, time, note}] of this.others) {
      lines.push([name, '', '', '', LABELS[label] ?? '', '', reviewer, time, note, table.head.job]);
    }
    return lines.map((line) => line.map(quoted).join(',')).join('\n') + '\n';
  }

  // Take over an export; of two decisions about an image the later one stays.
  merge(text) {
    const [head = [], ...lines] = parseCsv(text.replace(/^\uFEFF/, ''));
    const at = Object.fromEntries(COLUMNS.map((name) => [name, head.indexOf(name)]));
    if (at.uri < 0 || at.reviewer_label < 0) {
      throw new Error('it has no columns uri and reviewer_label, as an export of this page has');
    }
    const counts = {taken: 0, kept: 0, unknown: 0, invalid: 0};
    for (const line of lines) {
      const cell = (name) => line[at[name]] ?? '';
      const row = this.rowOf(cell('uri'));
      const label = LABELS.indexOf(cell('reviewer_label'));
      const time = new Date(cell('time') || 0);
      const isEmpty = cell('reviewer_label') === '' && cell('note');
      if ((label < 0 && !isEmpty) || Number.isNaN(+time)) counts.invalid += 1;
      else if (row === undefined) counts.unknown += 1;
      else if (this.rows.has(row) && new Date(this.rows.get(row).time) >= time) counts.kept += 1;
      else {
        this.put(row, {label, time: time.toISOString(), reviewer: cell('reviewer'), note: cell('note')});
        this.store(row);
        counts.taken += 1;
      }
    }
    this.undone = [];
    return counts;
  }

  // {n, agreed, matrix[model][reviewer], verdicts: [{n, agreed}]}, of what has a label.
  summary() {
    const matrix = LABELS.map(() => LABELS.map(() => 0));
    const verdicts = this.table.head.verdicts.map(() => ({n: 0, agreed: 0}));
    let n = 0, agreed = 0;
    for (const [row, {label}] of this.rows) {
      if (label < 0) continue;
      const isSame = label === this.table.answer(row);
      matrix[this.table.answer(row)][label] += 1;
      verdicts[this.table.verdict[row]].n += 1;
      verdicts[this.table.verdict[row]].agreed += isSame;
      n += 1;
      agreed += isSame;
    }
    return {n, agreed, matrix, verdicts};
  }
}

function attempt(ask) {
  try { return ask(); } catch { return undefined; }
}

function quoted(value) {
  const text = String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

function parseCsv(text) {
  const lines = [];
  let line = [], cell = '', isQuoted = false;
  for (let i = 0; i < text.length; i += 1) {
    const c = text[i];
    if (isQuoted) {
      if (c !== '"') cell += c;
      else if (text[i + 1] === '"') { cell += c; i += 1; } else isQuoted = false;
    } else if (c === '"' && cell === '') isQuoted = true;
    else if (c === ',') { line.push(cell); cell = ''; }
    else if (c === '\n' || c === '\r') {
      if (c === '\r' && text[i + 1] === '\n') i += 1;
      line.push(cell);
      if (line.length > 1 || cell) lines.push(line);
      line = []; cell = '';
    } else cell += c;
  }
  if (cell || line.length) lines.push([...line, cell]);
  return lines;
}

// A share with its Wilson interval of 95 %, as lesionlens.intervals has it.
function share(k, n) {
  if (!n) return '-';
  const z = 1.959963984540054, p = k / n, half = z * z / (2 * n);
  const spread = z * Math.sqrt(p * (1 - p) / n + half / (2 * n));
  const percent = (x) => (100 * Math.min(1, Math.max(0, x))).toFixed(1);
  const low = percent((p + half - spread) / (1 + 2 * half)), high = percent((p + half + spread) / (1 + 2 * half));
  return `${percent(p)} % (${low} to ${high})`;
}
