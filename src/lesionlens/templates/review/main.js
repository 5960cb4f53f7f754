// The page: filters, keys and dialogs around the grid and the chosen image.

const find = (id) => document.getElementById(id);
const NARROW = matchMedia('(max-width: 760px)');

function warn(words) {
  find('warning').textContent = words;
  find('warning').hidden = false;
}

let saying;

function say(words) {
  find('said').textContent = words;
  clearTimeout(saying);
  saying = setTimeout(() => { find('said').textContent = ''; }, 6000);
}

class Review {
  constructor(table) {
    this.table = table;
    this.decisions = new Decisions(table, warn);
    this.maps = new Maps(table);
    const acts = {
      accept: () => this.decide(table.answer(this.row)), correct: (label) => this.decide(label),
      undo: () => this.undo(), note: (text) => this.noteDown(text), step: (by) => this.choose(this.grid.chosen + by, true),
      toggleMap: () => this.toggleMap(), close: () => this.close(),
    };
    this.detail = new Detail(find('detail'), table, this.decisions, this.maps, acts);
    this.grid = new Grid(find('grid'), find('canvas'), {
      draw: (tile, row) => this.drawTile(tile, row), choose: (place) => this.choose(place), open: () => this.open(),
    });
    this.setUpFilters();
    this.setUpButtons();
    document.addEventListener('keydown', (event) => this.press(event));
    addEventListener('pagehide', () => document.activeElement?.blur());  // a note half written
    addEventListener('storage', (event) => this.hear(event));
    find('run').textContent = this.nameOfRun();
    find('run').title = this.nameOfRun();
    this.filter();
    this.count();
  }

  get row() { return this.grid.rows[this.grid.chosen]; }

  nameOfRun() {
    const {n, n_all: all, failed} = this.table.head;
    const part = all > n ? `the ${n.toLocaleString('en')} of highest risk among ${count(all, 'image')}` : count(n, 'image');
    return failed ? `${part}; ${failed.toLocaleString('en')} more could not be judged (errors.csv)` : part;
  }

  // ---------------------------------------------------------------- which images

  setUpFilters() {
    const {table} = this;
    const {head} = table;
    const counts = head.verdicts.map(() => 0);
    for (const verdict of table.verdict) counts[verdict] += 1;
    this.chips = head.verdicts.map((verdict, i) => {
      const look = verdict === 'confident' ? 'confident' : verdict;
      const made = button('', () => {
        made.setAttribute('aria-pressed', made.getAttribute('aria-pressed') !== 'true');
        this.filter();
      }, {'aria-pressed': 'true', class: look, disabled: !counts[i]});
      made.append(icon(verdict === 'confident' ? 'cancer' : verdict), VERDICT_WORDS[verdict], element('span', {class: 'count'}, counts[i].toLocaleString('en')));
      return made;
    });
    find('verdicts').append(...this.chips);
    const sets = [...new Set(table.set)].sort((a, b) => a - b);
    const setName = (bits) => head.labels.filter((_, bit) => bits >> bit & 1).join(', ') || 'empty';
    options('label', ['', 'any'], ...head.labels.map((label, i) => [i, label]));
    options('set', ['', 'any'], ...sets.map((bits) => [bits, setName(bits)]));
    options('quality', ['', 'any'], ['good', 'good enough'], ['any', 'with a finding'], ...head.findings.map((name, i) => [i, inWords(name)]));
    options('state', ['', 'any'], ['open', 'to do'], ['done', 'done'], ['agreed', 'accepted'], ['corrected', 'corrected'], ['noted', 'with a note']);
    options('sort', ['risk', 'risk'], ['uncertainty', 'uncertainty'], ['verdict', 'verdict'], ['uri', 'name']);
    const form = find('filters');
    form.addEventListener('submit', (event) => event.preventDefault());
    form.addEventListener('change', (event) => { if (event.target.id !== 'text') this.filter(); });
    find('text').addEventListener('input', () => this.filter());
    form.addEventListener('reset', () => {
      this.chips.forEach((chip) => chip.setAttribute('aria-pressed', 'true'));
      find('direction').setAttribute('aria-pressed', 'false');
      requestAnimationFrame(() => this.filter());
    });
    find('empty-reset').addEventListener('click', () => form.reset());
    find('direction').addEventListener('click', (event) => {
      const made = event.currentTarget;
      made.setAttribute('aria-pressed', made.getAttribute('aria-pressed') !== 'true');
      this.filter();
    });
    find('more-filters').addEventListener('click', () => {
      const isOpen = find('filters').classList.toggle('is-open');
      find('more-filters').setAttribute('aria-expanded', isOpen);
    });
  }

  filter() {
    const value = (id) => find(id).value;
    const chosen = this.row;
    const rows = this.table.select({
      text: value('text'), label: value('label'), set: value('set'), quality: value('quality'),
      state: value('state'), sort: value('sort'),
      reversed: find('direction').getAttribute('aria-pressed') === 'true',
      verdicts: this.chips.reduce((bits, chip, i) => bits | (chip.getAttribute('aria-pressed') === 'true') << i, 0),
    }, this.decisions);
    find('shown').textContent = rows.length === this.table.n ? 'all shown' : `${rows.length.toLocaleString('en')} shown`;
    find('empty').hidden = rows.length > 0;
    find('grid').hidden = !rows.length;
    // What was chosen stays so where it is still there; another order begins at its top.
    const order = value('sort') + find('direction').getAttribute('aria-pressed');
    this.grid.show(rows, order === this.sorted && chosen !== undefined ? rows.indexOf(chosen) : 0);
    this.sorted = order;
    this.showChosen();
  }

  // ---------------------------------------------------------------- the chosen one

  choose(place, isKept = false) {
    const {grid} = this;
    if (!grid.rows.length) return;
    grid.chosen = Math.max(0, Math.min(place, grid.rows.length - 1));
    grid.reveal();
    this.showChosen();
    if (!isKept && !this.isOpen) grid.box.focus({preventScroll: true});
  }

  showChosen() { this.detail.show(this.row, this.grid.chosen, this.grid.rows.length); }

  get isOpen() { return document.body.classList.contains('is-open'); }

  open() {
    if (!NARROW.matches) return;
    document.body.classList.add('is-open');
    find('detail').querySelector('.close').focus();
  }

  close() {
    document.body.classList.remove('is-open');
    this.grid.box.focus({preventScroll: true});
    this.grid.reveal();
  }

  drawTile(tile, row) {
    const {table, decisions} = this;
    tile.unload?.();
    const {words} = lookOf(table, row);
    const label = decisions.labelOf(row);
    const frame = element('div', {class: 'thumb'});
    const mark = label < 0 ? '' : element('span', {class: `mark ${decisions.agrees(row) ? 'agreed' : 'corrected'}`},
      decisions.agrees(row) ? icon('agreed') : LABELS[label]);
    tile.setAttribute('aria-label', `${table.uri[row]}: ${words}, risk ${percent(table.risk[row])}, ${label < 0 ? 'not reviewed' : `reviewed: ${LABELS[label]}`}`);
    const name = table.uri[row];
    tile.replaceChildren(frame, mark, element('div', {class: 'line'}, badge(table, row, true), element('span', {class: 'risk'}, `risk ${Math.floor(100 * table.risk[row])} %`)),
      element('div', {class: 'name', title: name}, element('bdi', {}, name.slice(name.lastIndexOf('/') + 1) || name)));
    let isLoaded = false;
    tile.load = () => {
      if (isLoaded) return;
      isLoaded = true;
      fill(frame, table, row, {isSmall: true});
    };
    tile.unload = () => empty(frame);
  }

  // ---------------------------------------------------------------- decisions

  decide(label) {
    const {row} = this;
    if (row === undefined) return;
    this.decisions.set(row, {label});
    say(`${this.table.uri[row]}: ${LABELS[label]}${this.decisions.agrees(row) ? ', as the model' : ''}. ${count(this.decisions.n, 'image')} reviewed.`);
    this.changed(row);
    this.choose(this.grid.chosen + 1, true);
  }

  noteDown(text) {
    if (this.row === undefined || text === (this.decisions.rows.get(this.row)?.note ?? '')) return;
    this.decisions.set(this.row, {note: text});
    this.changed(this.row);
  }

  undo() {
    const row = this.decisions.undo();
    if (row === undefined) { say('Nothing to undo.'); return; }
    say(`${this.table.uri[row]}: undone.`);
    this.changed(row);
    const place = this.grid.rows.indexOf(row);
    if (place >= 0) this.choose(place, true);
  }

  changed(row) {
    this.grid.refresh(row);
    this.count();
    this.detail.showDecision();
  }

  count() {
    const {n} = this.decisions;
    find('progress').max = Math.max(1, this.table.n);
    find('progress').value = n;
    find('reviewed').textContent = `${n.toLocaleString('en')} of ${this.table.n.toLocaleString('en')} reviewed`;
  }

  // Another window of the same run decided something.
  hear({key, newValue}) {
    if (!key?.startsWith(this.decisions.prefix)) return;
    const row = this.decisions.take(key.slice(this.decisions.prefix.length), newValue);
    if (row === undefined) return;
    this.grid.refresh(row);
    this.count();
    if (row === this.row) this.detail.showDecision();
  }

  toggleMap() {
    this.detail.isMapped = !this.detail.isMapped;
    this.detail.showMap();
  }

  // ---------------------------------------------------------------- buttons and dialogs

  setUpButtons() {
    find('export').addEventListener('click', () => this.export());
    find('import').addEventListener('click', () => find('import-file').click());
    find('import-file').addEventListener('change', (event) => this.import(event.target));
    find('show-agreement').addEventListener('click', () => this.showAgreement());
    find('show-help').addEventListener('click', () => this.showHelp());
  }

  export() {
    if (!this.decisions.rows.size && !this.decisions.others.size) { say('Nothing is decided yet: there is nothing to export.'); return; }
    const address = URL.createObjectURL(new Blob([this.decisions.csv()], {type: 'text/csv'}));
    const link = element('a', {href: address, download: `review-${this.table.head.job}.csv`});
    link.click();
    setTimeout(() => URL.revokeObjectURL(address), 60_000);
    say(`${count(this.decisions.rows.size, 'decision')} exported.`);
  }

  async import(input) {
    const [file] = input.files;
    input.value = '';
    if (!file) return;
    try {
      const {taken, kept, unknown, invalid} = this.decisions.merge(await file.text());
      const parts = [`${count(taken, 'decision')} taken over`];
      if (kept) parts.push(`${kept} older than what is here`);
      if (unknown) parts.push(`${unknown} of images that are not in this page`);
      if (invalid) parts.push(`${invalid} not understood`);
      say(`${file.name}: ${parts.join(', ')}.`);
    } catch (error) {
      say(`${file.name}: was not imported; ${error.message}.`);
    }
    this.grid.refresh();
    this.count();
    this.showChosen();
  }

  showHelp() {
    const {head} = this.table;
    dialog('help', 'Keys and help',
      element('dl', {class: 'keys'}, ...KEYS.flatMap(([key, words]) => [element('dt', {}, element('kbd', {}, key)), element('dd', {}, words)])),
      element('p', {}, 'Accepting an uncertain answer means its likeliest class; of “none of the three” it means Other, of a poor photo Unusable.'),
      element('p', {}, 'What you decide is kept in this browser, on this machine, until you clear its data. Export it to keep it elsewhere, to join it with results.parquet, or to go on in another browser by Import.'),
      element('p', {class: 'note'}, `Run ${head.job}, model ${head.model.slice(0, 12)}, policy ${head.policy}, ${count(head.views, 'view')}. Written by LesionLens ${head.version} on ${head.written}. Decision support for research and education. Not a diagnosis.`));
  }

  showAgreement() {
    const {n, agreed, matrix, verdicts} = this.decisions.summary();
    const row = (name, ...cells) => element('tr', {}, element('th', {scope: 'row'}, name), ...cells.map((cell) => element('td', {}, cell)));
    const heads = (...names) => element('thead', {}, element('tr', {}, ...names.map((name) => element('th', {scope: 'col'}, name))));
    dialog('agreement', 'Agreement',
      element('p', {class: 'large'}, n ? `${share(agreed, n)}` : 'Nothing reviewed yet'),
      element('p', {}, `${agreed.toLocaleString('en')} of ${count(n, 'reviewed image')} are labelled as the model answered; in brackets the 95 % interval (Wilson).`),
      element('p', {class: 'note'}, 'This is no accuracy: you saw the model’s answer, your label is not a biopsy’s, and images that were chosen by risk do not stand for all.'),
      element('table', {}, heads('Verdict', 'Reviewed', 'Same label'), element('tbody', {},
        ...verdicts.map(({n: all, agreed: same}, i) => row(VERDICT_WORDS[this.table.head.verdicts[i]], all.toLocaleString('en'), share(same, all))))),
      element('table', {class: 'matrix'}, element('caption', {}, 'Rows: the model’s answer. Columns: your label.'), heads('', ...LABELS), element('tbody', {},
        ...LABELS.map((label, i) => {
          const line = row(label, ...matrix[i].map((k) => k.toLocaleString('en')));
          line.cells[i + 1].classList.add('same');
          return line;
        }))));
  }

  // ---------------------------------------------------------------- keys

  press(event) {
    const {target, key} = event;
    if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector('dialog[open]')) return;
    if (target.closest?.('input[type=search], input[type=text], textarea')) {
      if (key === 'Escape' || (key === 'Enter' && target.id === 'text')) {
        target.blur();
        (this.isOpen ? find('detail').querySelector('.close') : this.grid.box).focus({preventScroll: true});
        event.preventDefault();
      }
      return;
    }
    if (target.closest?.('select, input[type=range]') && !/^[a-z?]$/.test(key)) return;
    if (target.closest?.('select') && key.length === 1) return;  // picks an option by its first letter
    const {grid} = this;
    const page = Math.max(1, Math.floor(grid.view / grid.step)) * grid.columns;
    const isButton = target.closest?.('button');
    const moves = {
      ArrowRight: 1, ArrowLeft: -1, ArrowDown: grid.columns, ArrowUp: -grid.columns,
      PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity,
    };
    if (this.isOpen) Object.assign(moves, {ArrowDown: undefined, ArrowUp: undefined, PageDown: undefined, PageUp: undefined});
    const acts = {
      a: () => this.decide(this.table.answer(this.row)), u: () => this.undo(), m: () => this.toggleMap(),
      f: () => { if (this.isOpen) this.close(); find('text').focus(); find('text').select(); },
      n: () => this.detail.note.focus(), s: () => this.showAgreement(), e: () => this.export(), '?': () => this.showHelp(),
      Escape: () => { if (this.isOpen) this.close(); },
    };
    if (!isButton) acts.Enter = () => this.open();
    const act = moves[key] !== undefined ? () => this.choose(grid.chosen + moves[key], true)
      : /^[1-5]$/.test(key) ? () => this.decide(+key - 1) : acts[key.length === 1 ? key.toLowerCase() : key];
    if (!act || (this.row === undefined && /^([amn1-5]|Enter)$/i.test(key))) return;
    event.preventDefault();
    act();
  }
}

function options(id, ...choices) {
  find(id).append(...choices.map(([value, words]) => element('option', {value}, words)));
}

function dialog(id, title, ...content) {
  const box = find(id);
  const close = button('Close', () => box.close(), {autofocus: true});
  box.replaceChildren(element('h2', {id: `${id}-title`}, title), ...content, element('div', {class: 'end'}, close));
  box.showModal();
}

async function start() {
  if (!('DecompressionStream' in window)) {
    warn('This page needs a browser of 2023 or later: Chrome, Edge or Chromium 80, Firefox 113, Safari 16.4.');
    return;
  }
  try {
    new Review(new Table(await unpack('data')));
    document.body.classList.add('is-ready');
  } catch (error) {
    warn(`This page is damaged, or a fault of LesionLens: ${error.message}. Screen again to write it anew.`);
    throw error;
  }
}

start();
