// Tiles of which only those in sight exist, however many images there are.

// Browsers end what is taller somewhere above this; longer lists are scrolled in larger steps.
const MOST_PX = 15e6;
const GAP_PX = 8, TEXT_PX = 54;

class Grid {
  constructor(box, canvas, {draw, choose, open}) {
    Object.assign(this, {box, canvas, draw, choose});
    this.rows = new Uint32Array(0);
    this.chosen = 0;
    this.tiles = new Map();  // place -> tile
    this.spare = [];
    this.lastTop = 0;
    box.addEventListener('scroll', () => this.later(), {passive: true});
    new ResizeObserver(() => this.measure()).observe(box);
    canvas.addEventListener('click', (event) => {
      const tile = event.target.closest('[role=option]');
      if (!tile) return;
      this.choose(+tile.dataset.place);
      open();
    });
  }

  show(rows, chosen) {
    this.rows = rows;
    this.chosen = Math.max(0, Math.min(chosen, rows.length - 1));
    this.clear();
    this.measure();
    this.reveal();
  }

  clear() {
    for (const [place, tile] of this.tiles) this.drop(place, tile);
  }

  // How many columns there are room for, how tall all is.
  measure() {
    const {clientWidth: width, clientHeight: height} = this.box;
    if (!width || !height) return;
    const least = width < 600 ? 150 : 196;
    const columns = Math.max(2, Math.floor((width - GAP_PX) / (least + GAP_PX)));
    const side = (width - GAP_PX) / columns - GAP_PX;
    if (columns !== this.columns || side !== this.side) this.clear();
    Object.assign(this, {columns, side, view: height});
    this.step = Math.round(side * 0.75) + TEXT_PX + GAP_PX;
    this.whole = Math.ceil(this.rows.length / columns) * this.step + GAP_PX;
    this.tall = Math.min(this.whole, MOST_PX);
    this.canvas.style.height = `${this.tall}px`;
    this.render();
  }

  // Where the view is in all, from where the bar is.
  get top() {
    const {scrollTop} = this.box;
    if (this.whole <= this.tall) return scrollTop;
    return scrollTop * (this.whole - this.view) / (this.tall - this.view);
  }

  set top(top) {
    const most = Math.max(0, this.whole - this.view);
    const wanted = Math.max(0, Math.min(top, most));
    this.box.scrollTop = this.whole <= this.tall ? wanted : wanted * (this.tall - this.view) / most;
  }

  later() {
    this.frame ??= requestAnimationFrame(() => {
      this.frame = undefined;
      this.render();
    });
  }

  render() {
    if (!this.columns) return;
    const {top} = this;
    const shift = this.box.scrollTop - top;
    const first = Math.max(0, Math.floor(top / this.step) - 1) * this.columns;
    const end = Math.min(this.rows.length, (Math.ceil((top + this.view) / this.step) + 1) * this.columns);
    for (const [place, tile] of this.tiles) if (place < first || place >= end) this.drop(place, tile);
    // While somebody drags the bar nothing is loaded that is gone before it is there.
    const isHurried = Math.abs(top - this.lastTop) > 1.5 * this.view;
    this.lastTop = top;
    for (let place = first; place < end; place += 1) {
      let tile = this.tiles.get(place);
      if (!tile) {
        tile = this.spare.pop() ?? this.make();
        this.tiles.set(place, tile);
        this.bind(tile, place);
      }
      const x = GAP_PX + place % this.columns * (this.side + GAP_PX);
      const y = GAP_PX + Math.floor(place / this.columns) * this.step + shift;
      tile.style.transform = `translate(${x}px, ${y}px)`;
      if (!isHurried) tile.load();
    }
    clearTimeout(this.rest);
    if (isHurried) this.rest = setTimeout(() => this.tiles.forEach((tile) => tile.load()), 90);
    this.mark();
  }

  make() {
    const tile = element('div', {role: 'option', class: 'tile'});
    this.canvas.append(tile);
    return tile;
  }

  bind(tile, place) {
    tile.id = `tile-${place}`;
    tile.hidden = false;
    tile.dataset.place = place;
    tile.style.width = `${this.side}px`;
    tile.style.height = `${this.step - GAP_PX}px`;
    tile.setAttribute('aria-posinset', place + 1);
    tile.setAttribute('aria-setsize', this.rows.length);
    this.draw(tile, this.rows[place]);
  }

  drop(place, tile) {
    this.tiles.delete(place);
    tile.unload();
    tile.hidden = true;
    tile.removeAttribute('id');
    tile.removeAttribute('aria-selected');
    this.spare.push(tile);
  }

  // Draw a row's tile anew, if it is in sight.
  refresh(row) {
    for (const [place, tile] of this.tiles) {
      if (row === undefined || this.rows[place] === row) { this.draw(tile, this.rows[place]); tile.load(); }
    }
  }

  mark() {
    for (const [place, tile] of this.tiles) tile.setAttribute('aria-selected', place === this.chosen);
    if (this.tiles.has(this.chosen)) this.box.setAttribute('aria-activedescendant', `tile-${this.chosen}`);
    else this.box.removeAttribute('aria-activedescendant');
  }

  // Scroll as little as it takes to see the chosen one.
  reveal() {
    if (!this.columns) return;
    const from = Math.floor(this.chosen / this.columns) * this.step;
    if (from < this.top) this.top = from;
    else if (from + this.step + GAP_PX > this.top + this.view) this.top = from + this.step + GAP_PX - this.view;
    this.render();
  }
}
