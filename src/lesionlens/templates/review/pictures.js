// Photos, where they can be had; why not, where they cannot; and the map over them.

const CLOSED = [
  '',
  'In a ZIP, which a browser cannot look into.',
  'In a TAR, which a browser cannot look into.',
  'In a packed TAR, which a browser cannot look into. Unpack it and screen the folder to see it here.',
  'DICOM, which a browser cannot show.',
  'Behind an address; this page never uses the network.',
  'Of a format that browsers do not show.',
  'Not found when this page was made.',
];
const NEEDS_UNPACKING = 3, IS_GONE = 7;

function whyClosed(table, row) {
  const code = table.place[row];
  if (!code) return 'The file is not where it was, or cannot be shown.';
  const more = ' Screen again with a larger --maps to get a preview of it.';
  return CLOSED[code] + (code === NEEDS_UNPACKING || code === IS_GONE ? '' : more);
}

// Put a picture into a frame, or words. A fresh element each time: one that is given another
// address may show the last picture under the next one's name.
function fill(frame, table, row, {isSmall, shown = () => {}}) {
  empty(frame);
  const addresses = table.addresses(row, isSmall);
  const next = () => {
    const address = addresses.shift();
    if (address === undefined) {
      const words = isSmall ? 'No preview' : whyClosed(table, row);
      frame.replaceChildren(element('p', {class: 'closed', title: whyClosed(table, row)}, icon('closed'), words));
      return;
    }
    const image = element('img', {alt: '', decoding: 'async', draggable: 'false'});
    image.addEventListener('load', () => {
      image.classList.add('is-there');
      shown(image);
    });
    image.addEventListener('error', () => { if (image.isConnected) next(); });
    frame.replaceChildren(image);
    image.src = address;
  };
  next();
}

function empty(frame) {
  frame.querySelector('img')?.removeAttribute('src');  // ends its loading
  frame.replaceChildren();
}

class Maps {
  constructor(table) {
    this.table = table;
    this.places = new Map();
    table.map_rows.forEach((row, place) => this.places.set(row, place));
  }

  has(row) { return this.places.has(row); }

  async draw(canvas, row) {
    this.values ??= unpack('maps').then(({columns}) => columns.maps);
    const values = await this.values;
    const {map_px: side, colours} = this.table.head;
    const from = this.places.get(row) * side * side;
    const small = new OffscreenCanvas(side, side);
    const picture = new ImageData(side, side);
    for (let i = 0; i < side * side; i += 1) {
      picture.data.set([...colours[values[from + i]], 255], 4 * i);
    }
    small.getContext('2d').putImageData(picture, 0, 0);
    const pen = canvas.getContext('2d');
    pen.imageSmoothingQuality = 'high';
    pen.drawImage(small, 0, 0, canvas.width, canvas.height);
  }
}
