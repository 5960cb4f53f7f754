// What is in the page: rows as columns, packed; and which of them are shown, in which order.

const KINDS = {u8: Uint8Array, u16: Uint16Array, u32: Uint32Array, f32: Float32Array};

async function unpack(id) {
  const text = document.getElementById(id).textContent;
  let bytes;
  if (Uint8Array.fromBase64) {
    bytes = Uint8Array.fromBase64(text);
  } else {
    const raw = atob(text);
    bytes = new Uint8Array(raw.length);
    for (let i = 0; i < raw.length; i += 1) bytes[i] = raw.charCodeAt(i);
  }
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('deflate'));
  return columnsOf(await new Response(stream).arrayBuffer());
}

// Four bytes say how long the head is, which says where each column lies.
function columnsOf(buffer) {
  const length = new DataView(buffer).getUint32(0, true);
  const text = new TextDecoder();
  const head = JSON.parse(text.decode(new Uint8Array(buffer, 4, length)));
  const columns = {};
  for (const {name, kind, start, bytes} of head.columns) {
    const from = 4 + length + start;
    if (kind === 'text') columns[name] = text.decode(new Uint8Array(buffer, from, bytes)).split('\0');
    else columns[name] = new KINDS[kind](buffer.slice(from, from + bytes));
  }
  return {head: head.meta, columns};
}

class Table {
  constructor({head, columns}) {
    this.head = head;
    this.n = head.n;
    if (!this.n) columns.uri = [];
    Object.assign(this, columns);
    this.pictures = new Map();  // row -> its place among the previews
    this.preview_rows.forEach((row, place) => this.pictures.set(row, place));
    this.orders = new Map();
  }

  probabilities(row) {
    const bcc = this.bcc[row], scc = this.scc[row];
    return [bcc, scc, Math.max(0, 1 - bcc - scc)];
  }

  hasScope(row) { return !Number.isNaN(this.scope[row]); }

  // 0 where one outcome is certain, 1 where two are as likely.
  uncertainty(row) {
    const scope = this.hasScope(row) ? this.scope[row] : 1;
    const bcc = this.bcc[row] * scope, scc = this.scc[row] * scope, none = 1 - scope;
    const normal = Math.max(0, scope - bcc - scc);
    const high = Math.max(bcc, scc), low = Math.min(bcc, scc);
    const higher = Math.max(normal, none), lower = Math.min(normal, none);
    const second = high > higher ? Math.max(low, higher) : Math.max(lower, high);
    return 1 - (Math.max(high, higher) - second);
  }

  setOf(row) { return this.head.labels.filter((_, bit) => this.set[row] >> bit & 1); }

  findings(row) { return this.head.findings.filter((_, bit) => this.quality[row] >> bit & 1); }

  // What the model says of an image, as an index of the reviewer's labels.
  answer(row) {
    const verdict = this.head.verdicts[this.verdict[row]];
    if (verdict === 'out_of_scope') return OTHER;
    return verdict === 'poor_image' ? UNUSABLE : this.label[row];
  }

  // 1 for each row whose name has all the words. All names are one text, as one long search is
  // faster than 100,000 short ones; the longest word goes first, as it is in the fewest.
  matching(words) {
    if (!this.names) {
      this.names = this.uri.map((name) => name.toLowerCase());
      this.text = this.names.join('\0');
      this.starts = new Uint32Array(this.n + 1);
      for (let row = 0; row < this.n; row += 1) this.starts[row + 1] = this.starts[row] + this.names[row].length + 1;
    }
    const {names, text, starts} = this;
    const [first, ...others] = [...words].sort((a, b) => b.length - a.length);
    const found = new Uint8Array(this.n);
    let row = 0;
    for (let at = text.indexOf(first); at >= 0; at = text.indexOf(first, starts[row + 1])) {
      while (starts[row + 1] <= at) row += 1;
      found[row] = others.every((word) => names[row].includes(word)) ? 1 : 0;
    }
    return found;
  }

  // Rows by a key, highest first; `uri` from A. Rows lie in the order of names.
  order(key) {
    let order = this.orders.get(key);
    if (order) return order;
    order = Uint32Array.from({length: this.n}, (_, row) => row);
    if (key !== 'uri') {
      const values = new Float64Array(this.n);
      for (let row = 0; row < this.n; row += 1) {
        if (key === 'risk') values[row] = this.risk[row];
        else if (key === 'uncertainty') values[row] = this.uncertainty(row);
        else values[row] = this.risk[row] - 2 * this.verdict[row];
      }
      order.sort((a, b) => values[b] - values[a] || a - b);
    }
    this.orders.set(key, order);
    return order;
  }

  // The rows that pass, in order.
  select(wanted, decisions) {
    const order = this.order(wanted.sort);
    const words = wanted.text.toLowerCase().split(/\s+/).filter(Boolean);
    const named = words.length ? this.matching(words) : null;
    const shown = new Uint32Array(this.n);
    let n = 0;
    for (let place = 0; place < this.n; place += 1) {
      const row = order[wanted.reversed ? this.n - 1 - place : place];
      if (named && !named[row]) continue;
      if (!(wanted.verdicts >> this.verdict[row] & 1)) continue;
      if (wanted.label !== '' && this.label[row] !== +wanted.label) continue;
      if (wanted.set !== '' && this.set[row] !== +wanted.set) continue;
      if (wanted.quality === 'good' ? this.quality[row] : wanted.quality === 'any'
        ? !this.quality[row]
        : wanted.quality !== '' && !(this.quality[row] >> +wanted.quality & 1)) continue;
      if (wanted.state !== '' && !decisions.isIn(row, wanted.state)) continue;
      shown[n] = row;
      n += 1;
    }
    return shown.subarray(0, n);
  }

  // Addresses to try for a picture, best first.
  addresses(row, isSmall) {
    const place = this.pictures.get(row);
    const own = [];
    if (this.place[row] === 0) {
      const path = this.path[row] || this.uri[row].split('/').map(encodeURIComponent).join('/');
      if (this.path[row]) own.push(path);
      else for (const root of this.head.roots) own.push(root + path);
    }
    if (place === undefined) return own;
    const preview = `${this.head.previews}/${hex(this.preview_names, 8 * place)}.jpg`;
    return isSmall ? [preview, ...own] : [...own, preview];
  }
}

function hex(bytes, from) {
  return Array.from(bytes.subarray(from, from + 8), (byte) => byte.toString(16).padStart(2, '0'))
    .join('');
}
