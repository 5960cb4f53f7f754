// The chosen image: photo, map of evidence, what the model says, what the reviewer says.

class Detail {
  constructor(box, table, decisions, maps, acts) {
    Object.assign(this, {box, table, decisions, maps, acts});
    this.isMapped = false;
    this.opacity = 0.6;
    this.build();
  }

  build() {
    const {acts} = this;
    this.frame = element('div', {class: 'photo'});
    this.map = element('canvas', {width: 448, height: 448, hidden: true, role: 'img'});
    this.stage = element('div', {class: 'stage'}, this.frame, this.map);
    this.mapButton = button('Evidence', acts.toggleMap, {
      'aria-pressed': 'false', 'aria-keyshortcuts': 'm', title: 'Map of evidence: where in the image the answer came from',
    });
    this.mapButton.append(keyHint('M'));
    this.slider = element('input', {type: 'range', min: 0, max: 100, value: 60, 'aria-label': 'Strength of the map'});
    this.slider.addEventListener('input', () => {
      this.opacity = this.slider.value / 100;
      this.map.style.opacity = this.opacity;
    });
    this.mapTools = element('div', {class: 'maptools', hidden: true},
      element('span', {class: 'scale'}, 'none', element('i'), 'strongest'), this.slider);
    this.mapNote = element('p', {class: 'note'});
    this.title = element('h2');
    this.verdict = element('div', {class: 'verdict'});
    this.bars = element('div', {class: 'bars'});
    this.facts = element('dl');
    this.accept = button('', acts.accept, {class: 'accept', 'aria-keyshortcuts': 'a'});
    this.labels = LABELS.map((label, i) => button('', () => acts.correct(i), {
      'aria-pressed': 'false', 'aria-keyshortcuts': i + 1,
    }));
    this.labels.forEach((made, i) => made.append(LABELS[i], keyHint(i + 1)));
    this.undo = button('Undo', acts.undo, {'aria-keyshortcuts': 'u'});
    this.undo.append(keyHint('U'));
    this.note = element('textarea', {rows: 2, maxlength: 2000, 'aria-label': 'Note', placeholder: 'Note (N)'});
    this.note.addEventListener('change', () => acts.note(this.note.value));
    this.reviewer = element('input', {type: 'text', maxlength: 100, autocomplete: 'name', 'aria-label': 'Reviewer', placeholder: 'Your name, for the export'});
    this.reviewer.value = this.decisions.reviewer;
    this.reviewer.addEventListener('change', () => { this.decisions.reviewer = this.reviewer.value.trim(); });
    this.when = element('p', {class: 'note'});
    this.position = element('span', {class: 'note'});
    this.box.append(
      element('div', {class: 'bar'}, button('Back', acts.close, {class: 'close', 'aria-label': 'Back to the images'}), this.position,
        this.mapButton, button('‹', () => acts.step(-1), {'aria-label': 'Previous image', title: 'Previous'}),
        button('›', () => acts.step(1), {'aria-label': 'Next image', title: 'Next'})),
      this.title, this.stage, this.mapTools, this.verdict,
      element('div', {class: 'decide', role: 'group', 'aria-label': 'Your decision'}, this.accept, ...this.labels, this.undo),
      this.when,
      this.mapNote, this.bars, this.facts,
      element('div', {class: 'write'}, this.note, this.reviewer),
    );
    this.paintScale();
  }

  paintScale() {
    const {colours} = this.table.head;
    const stops = [0, 64, 128, 192, 255].map((i) => `rgb(${colours[i].join(' ')})`);
    this.box.querySelector('.scale i').style.background = `linear-gradient(90deg, ${stops.join(', ')})`;
  }

  show(row, place, n) {
    const isOther = row !== this.row;
    this.row = row;
    this.box.classList.toggle('has-none', row === undefined);
    if (row === undefined) return;
    const {table} = this;
    if (isOther) {
      this.box.scrollTop = 0;
      this.stage.style.aspectRatio = `${table.width[row]} / ${table.height[row]}`;
      this.stage.style.setProperty('--shape', table.width[row] / table.height[row]);
      fill(this.frame, table, row, {isSmall: false});
      this.title.textContent = table.uri[row];
      this.verdict.replaceChildren(badge(table, row), element('span', {}, ADVICE[table.head.verdicts[table.verdict[row]]]));
      this.showNumbers(row);
      this.showMap();
    }
    this.position.textContent = `${(place + 1).toLocaleString('en')} of ${n.toLocaleString('en')}`;
    this.showDecision();
  }

  showNumbers(row) {
    const {table} = this;
    const {labels, full_names: names, extra} = table.head;
    const line = (name, title, value) => element('div', {class: 'probability', title}, element('span', {}, name),
      element('meter', {min: 0, max: 1, value, 'aria-label': title}), element('b', {}, percent(value)));
    const shares = table.probabilities(row);
    this.bars.replaceChildren(...labels.map((label, i) => line(label, names[i], shares[i])));
    if (table.hasScope(row)) {
      this.bars.append(line('One of them', 'Probability that it is one of the three at all', table.scope[row]));
    }
    const set = table.setOf(row);
    const findings = table.findings(row);
    const facts = [
      ['Risk', `${percent(table.risk[row])}: cancer of the three, and one of the three at all`],
      ['Prediction set', set.join(', ') || 'empty'],
      ['Photo', findings.length ? findings.map((name) => table.head.advice[name] ?? inWords(name)).join(' ') : 'good enough'],
      ['Size', `${table.width[row]} × ${table.height[row]} pixels`],
      ...extra.map((name, i) => [name, table[`extra_${i}`][row]]).filter(([, value]) => value),
    ];
    this.facts.replaceChildren(...facts.flatMap(([name, value]) => [element('dt', {}, name), element('dd', {}, value)]));
  }

  showMap() {
    const {row, table} = this;
    const has = this.maps.has(row);
    const isShown = has && this.isMapped;
    this.mapButton.disabled = !has;
    this.mapButton.setAttribute('aria-pressed', isShown);
    this.stage.classList.toggle('is-mapped', isShown);
    this.map.hidden = !isShown;
    this.mapTools.hidden = !isShown;
    this.map.style.opacity = this.opacity;
    this.mapNote.textContent = has
      ? 'Coarse: where the model found evidence. Not the outline of a lesion, no proof that the answer is right.'
      : table.head.maps ? `No map: they were made for the ${count(table.head.maps, 'image')} of highest risk and least certainty.`
        : 'No maps were made; screen again with --maps 500 to have them for the images that matter most.';
    if (!isShown) return;
    this.map.setAttribute('aria-label', `Map of evidence for ${table.head.labels[table.label[row]]}`);
    this.maps.draw(this.map, row);
  }

  showDecision() {
    const {row, table, decisions} = this;
    const decision = decisions.rows.get(row);
    const answer = table.answer(row);
    this.accept.replaceChildren(`Accept: ${LABELS[answer]}`, keyHint('A'));
    this.labels.forEach((made, i) => made.setAttribute('aria-pressed', i === decision?.label));
    this.accept.classList.toggle('is-given', answer === decision?.label);
    this.undo.disabled = !decisions.undone.length;
    this.note.value = decision?.note ?? '';
    this.when.textContent = decision?.label >= 0
      ? `${decisions.agrees(row) ? 'Accepted' : `Corrected to ${LABELS[decision.label]}`}${decision.reviewer ? ` by ${decision.reviewer}` : ''}, ${new Date(decision.time).toLocaleString()}`
      : 'Not reviewed yet';
  }
}

function button(words, act, attributes = {}) {
  const made = element('button', {type: 'button', ...attributes}, words);
  made.addEventListener('click', act);
  return made;
}
