// Elements, shapes and words. Text gets into the page as text, never as markup.

const ICONS = {
  cancer: 'M12 2 21 7v10l-9 5-9-5V7z',
  normal: 'M12 2a10 10 0 1 1 0 20 10 10 0 0 1 0-20z',
  uncertain: 'M12 3 22.500 21H1.500z',
  out_of_scope: 'M3 3h18v18H3z',
  poor_image: 'M3 1.600 1.600 3l3 3H4a2 2 0 0 0-2 2v10a2 2 0 0 0 2 2h14.600l2.400 2.400 1.400-1.400zM20 6h-4l-2-2h-4L9 5l13 13V8a2 2 0 0 0-2-2z',
  closed: 'M3 1.600 1.600 3 5 6.400V19h12.600l2.400 2.400 1.400-1.400zM19 5H8.800L19 15.200z',
  agreed: 'M9 17 4 12l-1.500 1.500L9 20 21.500 7.500 20 6z',
};
const VERDICT_WORDS = {
  confident: 'Confident', uncertain: 'Uncertain', out_of_scope: 'None of the three', poor_image: 'Poor photo',
};
const ADVICE = {
  confident: 'The model is sure of its answer. It may be sure and wrong.',
  uncertain: 'Do not rely on this answer: several classes are possible.',
  out_of_scope: 'Like none of the three classes. That does not mean harmless.',
  poor_image: 'The photo is not good enough to be judged.',
};
const KEYS = [
  ['← → ↑ ↓', 'the image beside, above, below; Home, End, Page up and Page down further'],
  ['A', 'accept the model\'s answer, and go on to the next image'],
  ['1 to 5', 'give it another label, and go on'],
  ['U', 'undo the last decision'],
  ['M', 'show or hide the map of evidence'],
  ['N', 'write a note'],
  ['F', 'find in names; Escape goes back to the images'],
  ['Enter', 'open the chosen image (on a narrow screen)'],
  ['S', 'agreement between you and the model'],
  ['E', 'export what you decided'],
  ['?', 'this page'],
];

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === true) made.setAttribute(key, '');
    else if (value !== false && value !== undefined) made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

function icon(name) {
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  svg.setAttribute('viewBox', '0 0 24 24');
  svg.setAttribute('aria-hidden', 'true');
  svg.classList.add('icon');
  const path = document.createElementNS('http://www.w3.org/2000/svg', 'path');
  path.setAttribute('d', ICONS[name]);
  svg.append(path);
  return svg;
}

// The key of a button, for the eye: screen readers have it from aria-keyshortcuts.
const keyHint = (key) => element('kbd', {'aria-hidden': 'true'}, key);

// How an answer looks, and what it is called in short.
function lookOf(table, row) {
  const verdict = table.head.verdicts[table.verdict[row]];
  const label = table.head.labels[table.label[row]];
  if (verdict === 'confident') return {look: label === 'Normal' ? 'normal' : 'cancer', words: label};
  if (verdict === 'uncertain') return {look: 'uncertain', words: `Uncertain, ${label}?`};
  return {look: verdict, words: VERDICT_WORDS[verdict]};
}

const percent = (share) => `${(100 * share).toFixed(share > 0 && share < 0.001 ? 2 : 1)} %`;
const count = (n, what) => `${n.toLocaleString('en')} ${what}${n === 1 ? '' : 's'}`;
const inWords = (name) => name.replaceAll('_', ' ');

// On a tile there is room for little: an uncertain answer is its likeliest class with a "?".
const SHORT_WORDS = {out_of_scope: 'None of 3', poor_image: 'Poor photo'};

function badge(table, row, isShort = false) {
  const {look, words} = lookOf(table, row);
  const short = look === 'uncertain' ? `${table.head.labels[table.label[row]]}?` : SHORT_WORDS[look] ?? words;
  return element('span', {class: `badge ${look}`, title: words}, icon(look), element('span', {}, isShort ? short : words));
}
